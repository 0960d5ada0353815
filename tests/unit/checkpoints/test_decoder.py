"""Files of light decoders: what they are is told by their tensors, their scale by trying or by name."""

import pytest
import torch
from linear_tae import linear_tae
from safetensors.torch import save_file

from dummy_forcing.core.checkpoints.decoder import open_decoder
from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.decoders.latent_scale import trial_picture
from dummy_forcing.core.decoders.streaming import LatentScale, StreamingDecoder
from dummy_forcing.core.decoders.tae import TAE, TAEShape
from dummy_forcing.core.stream.encode import encode_clip
from dummy_forcing.core.wan.latent_norm import denormalise
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape
from dummy_forcing.core.world.toy import open_toy_world

SMALL = TAEShape((6, 5, 4, 3))


@pytest.fixture(scope="module")
def state():
    """A whole TAEHV file, small: decoder and what stands for its encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {"encoder.0.weight": torch.ones(64, 3, 3, 3), **TAE(SMALL).state_dict()}


@pytest.fixture
def latents():
    return torch.randn(1, 16, 2, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_tae_of_any_type(save, state, dtype, latents):
    decoder = open_decoder(save({name: value.to(dtype) for name, value in state.items()}, "taew2_1.safetensors"))
    assert decoder.module.shape == SMALL and not decoder.module.training
    assert decoder.scale is LatentScale.NORMALISED and "by name and type" in decoder.reason
    assert all(
        torch.equal(value, state[name].to(dtype).float()) for name, value in decoder.module.state_dict().items()
    )
    assert decoder.begin().decode(latents).shape == (1, 5, 16, 16, 3)
    assert decoder.to_dict() == {"kind": "TAEHV", "width": 3, "latents": "normalised"}


def test_a_pth_file_in_half_precision(tmp_path, state):
    """As taew2_1 is published."""
    path = tmp_path / "lighttaew2_1.pth"
    torch.save({name: value.half() for name, value in state.items()}, path)
    decoder = open_decoder(path, dtype=torch.bfloat16)
    assert decoder.scale is LatentScale.RAW
    assert next(decoder.module.parameters()).dtype is torch.bfloat16


def test_the_vae_settles_the_scale(save):
    vae = open_toy_world().vae
    latents = encode_clip(vae, trial_picture())
    frames = StreamingDecoder(vae).decode(latents)
    for fitted, scale in ((latents, LatentScale.NORMALISED), (denormalise(latents), LatentScale.RAW)):
        file = save(linear_tae(fitted, frames).half().state_dict(), "any_name.safetensors")
        decoder = open_decoder(file, vae)
        assert decoder.scale is scale and "as a test picture shows" in decoder.reason


def test_a_tae_of_other_latents(save, state, refused):
    with refused("the decoder", "taew2_1.safetensors", "does not decode this VAE's latents"):
        open_decoder(save(state, "taew2_1.safetensors"), open_toy_world().vae)


def test_light_vae_is_a_wan_vae_of_width_24(tmp_path):
    """In the true layout and of the size of lightvaew2_1, 32.2 MB."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in WanVAE(WanVAEShape(width=24)).state_dict().items()}
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    assert [state[f"decoder.upsamples.{place}.residual.6.weight"].shape[0] for place in (0, 4, 8, 12)] == [
        96,
        96,
        48,
        24,
    ]
    path = tmp_path / "lightvaew2_1.safetensors"
    save_file(state, path)
    assert path.stat().st_size == pytest.approx(32.2e6, rel=0.02)
    decoder = open_decoder(path, dtype=torch.bfloat16)
    assert decoder.module.shape == WanVAEShape(width=24) and decoder.scale is LatentScale.RAW
    assert decoder.to_dict() == {"kind": "Wan VAE", "width": 24, "latents": "raw"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder.1.weight": torch.ones(6, 48, 3, 3)}, ["cannot be loaded", "Wan 2.2 5B"]),
        ({"decoder.3.conv.0.weight": torch.ones(6, 5, 3, 3)}, ["wrong shape", "decoder.3.conv.0.weight"]),
        ({"decoder.3.conv.5.weight": torch.ones(1)}, ["unexpected 'decoder.3.conv.5.weight'"]),
        ({"decoder.3.conv.0.weight": torch.ones(6, 12, 3, 3, dtype=torch.int8)}, ["not quantised"]),
    ],
)
def test_other_taes(save, state, refused, changes, words):
    with refused("the decoder", *words):
        open_decoder(save({**state, **changes}))


def test_what_is_no_decoder(golden_file, refused):
    with refused("neither a Wan 2.1 VAE nor TAEHV", "lightvaew2_1"):
        open_decoder(golden_file)


def test_a_model_decodes_with_it(golden_file, save, state, latents, vae_file):
    file = save(state, "taew2_1.safetensors")
    light = open_checkpoint(golden_file, family="self-forcing", decoder=file)
    own = open_checkpoint(golden_file, family="self-forcing", vae=vae_file)
    assert light.vae is None and own.decoder is None
    frames = light.begin_decoding().decode(latents)
    assert torch.equal(frames, StreamingDecoder(light.decoder.module, scale=LatentScale.NORMALISED).decode(latents))
    assert torch.equal(own.begin_decoding().decode(latents), StreamingDecoder(own.vae).decode(latents))


def test_a_model_of_other_channels(golden_file, save, refused):
    other = save(WanVAE(WanVAEShape(width=8, latent_channels=4)).state_dict(), "four.safetensors")
    with refused("the decoder has 4 latent channels, the backbone 16"):
        open_checkpoint(golden_file, family="self-forcing", decoder=other)
