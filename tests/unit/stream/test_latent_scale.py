"""Which latents a TAEHV decoder reads is found out by trying, with the toy world's VAE for Wan's."""

from functools import partial

import pytest
import torch
from linear_tae import linear_tae

from dummy_forcing.core.decoders.latent_scale import scale_by_name, settle_scale, trial_picture
from dummy_forcing.core.decoders.streaming import LatentScale, StreamingDecoder
from dummy_forcing.core.decoders.tae import TAE, TAEShape
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.stream.encode import encode_clip
from dummy_forcing.core.wan.latent_norm import denormalise
from dummy_forcing.core.world.toy import open_toy_world

RAW, NORMALISED = LatentScale.RAW, LatentScale.NORMALISED


@pytest.fixture(scope="module")
def vae():
    return open_toy_world().vae


@pytest.fixture(scope="module")
def shown(vae):
    """Latents of the trial picture in the backbone's scale and what the VAE shows of them."""
    latents = encode_clip(vae, trial_picture())
    return latents, StreamingDecoder(vae).decode(latents)


def made_for(scale, shown):
    """A decoder that was fitted to latents of this scale."""
    latents, frames = shown
    return linear_tae(denormalise(latents) if scale is RAW else latents, frames)


def settle(tae, vae, what="the decoder x.pth"):
    return settle_scale(
        lambda scale: StreamingDecoder(tae, scale=scale), StreamingDecoder(vae), partial(encode_clip, vae), what
    )


@pytest.mark.parametrize("scale", LatentScale)
def test_a_decoder_is_given_the_latents_it_was_made_for(vae, shown, scale):
    assert settle(made_for(scale, shown), vae) is scale


@pytest.mark.parametrize("scale", LatentScale)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_type_of_the_weights_does_not_matter(vae, shown, scale, dtype):
    """ComfyUI takes every float16 file for HunyuanVideo's."""
    stored = made_for(scale, shown).to(dtype)
    assert settle(stored.float(), vae) is scale


def test_a_decoder_of_other_latents_is_refused(vae):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stranger = TAE(TAEShape((8, 8, 8, 8))).eval().requires_grad_(False)
    with pytest.raises(DummyForcingError, match=r"the decoder x.pth does not decode.*such as taew2_1"):
        settle(stranger, vae)


def test_a_broken_decoder_is_refused(vae, shown):
    broken = made_for(RAW, shown)
    broken.decoder[22].bias.fill_(torch.nan)
    with pytest.raises(DummyForcingError, match="nan dB"):
        settle(broken, vae)


def test_the_clip_under_way_goes_on(vae, shown):
    """The VAE may be decoding when a decoder is tried out."""
    latents, _ = shown
    decoder, other = StreamingDecoder(vae), StreamingDecoder(vae)
    small = latents[..., :2, :2]
    first = decoder.decode(small)
    assert torch.equal(decoder.decode_apart(small), first)
    other.decode(small)
    assert torch.equal(decoder.decode(small), other.decode(small))


@pytest.mark.parametrize(
    ("name", "stored", "scale"),
    [
        ("taew2_1.pth", torch.float16, NORMALISED),
        ("TAEW2_1_fp32.safetensors", torch.float32, NORMALISED),
        ("lighttaew2_1.safetensors", torch.float32, RAW),
        ("wan/lighttaew2_1_fp16.safetensors", torch.float16, RAW),
        ("renamed.pth", torch.float16, NORMALISED),
        ("renamed.pth", torch.float32, RAW),
    ],
)
def test_published_files_by_name(name, stored, scale):
    assert scale_by_name(name, stored, "the decoder") is scale


@pytest.mark.parametrize(
    ("name", "model"), [("taehv.pth", "HunyuanVideo"), ("taecvx.pth", "CogVideoX"), ("taeos1_3.pth", "Open-Sora")]
)
def test_files_of_other_models_by_name(name, model):
    """Their tensors have the same names, shapes and types as Wan's."""
    with pytest.raises(DummyForcingError, match=f"the decoder x.*for {model}.*give the VAE to try it with"):
        scale_by_name(name, torch.float16, "the decoder x")
