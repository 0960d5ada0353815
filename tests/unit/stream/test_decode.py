import pytest
import torch

from dummy_forcing.core.decoders.streaming import LatentScale, StreamingDecoder
from dummy_forcing.core.decoders.tae import TAE, TAEShape
from dummy_forcing.core.decoders.tae_stream import decode_tae_chunk
from dummy_forcing.core.decoders.vae_stream import VAEState, decode_chunk
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.latent_norm import denormalise
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

FRAMES = 7


@pytest.fixture(scope="module")
def vae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WanVAE(WanVAEShape(width=8)).eval()


@pytest.fixture(scope="module")
def tae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tae = TAE(TAEShape((8, 8, 8, 8))).eval().requires_grad_(False)
    for parameter in tae.parameters():
        parameter *= 1.5  # so that every layer counts
    return tae


@pytest.fixture(scope="module")
def latents():
    return torch.randn(1, 16, FRAMES, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def small(latents):
    return latents[..., :2, :2]


@pytest.fixture(scope="module")
def whole(vae, latents):
    """The clip decoded in one call, without the class under test."""
    with torch.no_grad():
        pixels = decode_chunk(vae, denormalise(latents), VAEState())
    return ((pixels + 1) / 2).clamp(0, 1).permute(0, 2, 3, 4, 1)


@pytest.mark.parametrize("chunks", [[1] * 7, [1, 2, 1, 2, 1], [3, 3, 1], [1, 3, 3], [7]], ids=str)
def test_any_chunking_gives_the_whole_clip(vae, latents, whole, chunks):
    decoder = StreamingDecoder(vae)
    frames = torch.cat([decoder.decode(chunk) for chunk in latents.split(chunks, dim=2)], dim=1)
    assert whole.std() > 0.01  # there is something to see
    torch.testing.assert_close(frames, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("chunks", [[1] * 7, [3, 3, 1], [7]], ids=str)
@pytest.mark.parametrize("scale", LatentScale)
def test_a_tae_gives_the_whole_clip_too(tae, latents, chunks, scale):
    decoder = StreamingDecoder(tae, scale=scale)
    frames = torch.cat([decoder.decode(chunk) for chunk in latents.split(chunks, dim=2)], dim=1)
    with torch.no_grad():
        given = denormalise(latents) if scale is LatentScale.RAW else latents
        whole = decode_tae_chunk(tae, given, VAEState()).clamp(0, 1).permute(0, 2, 3, 4, 1)
    assert whole.std() > 0.01
    torch.testing.assert_close(frames, whole, atol=1e-5, rtol=0)


def test_frame_counts(vae, small):
    decoder = StreamingDecoder(vae)
    shapes = [list(decoder.decode(small[:, :, :count]).shape) for count in (1, 1, 2, 3)]
    assert shapes == [[1, count, 16, 16, 3] for count in (1, 4, 8, 12)]


def test_frames_are_ordinary_numbers_from_0_to_1(vae, small):
    frames = StreamingDecoder(vae).decode(small[:, :, :2] * 100)
    assert (frames.dtype, frames.device.type) == (torch.float32, "cpu")
    assert 0 <= frames.min() < frames.max() <= 1
    assert not frames.is_inference()


def test_the_vae_says_in_which_dtype_to_compute(vae, small):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        double = WanVAE(WanVAEShape(width=8)).eval().double()
    frames = StreamingDecoder(double).decode(small)
    assert frames.dtype == torch.float32
    torch.testing.assert_close(frames, StreamingDecoder(vae).decode(small), atol=1e-5, rtol=0)


def test_memory_is_flat_and_is_freed(vae, small):
    decoder = StreamingDecoder(vae)
    assert decoder.bytes == 0
    decoder.decode(small[:, :, :2])
    warm = decoder.bytes
    decoder.decode(small[:, :, :3])
    assert decoder.bytes == warm > 0
    decoder.close()
    assert decoder.bytes == 0


def test_after_closing_a_new_clip_begins(vae, small):
    decoder = StreamingDecoder(vae)
    first = decoder.decode(small[:, :, :2])
    decoder.close()
    assert torch.equal(decoder.decode(small[:, :, :2]), first)


def test_an_error_frees_the_memory(vae, small):
    decoder = StreamingDecoder(vae)
    decoder.decode(small[:, :, :1])
    with pytest.raises(RuntimeError):
        decoder.decode(small[:, :, :1, :1])  # another size in the middle of a clip
    assert decoder.bytes == 0


@pytest.mark.parametrize("shape", [(16, 1, 2, 2), (1, 16, 0, 2, 2)])
def test_other_shapes(vae, shape):
    with pytest.raises(DummyForcingError, match=r"expected \[batch, 16, frames, h, w\]"):
        StreamingDecoder(vae).decode(torch.zeros(shape))
