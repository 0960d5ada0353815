"""TAEHV's decoder: names of the published files, streaming exact for any cutting, causality."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.decoders.tae import TAE, TAEShape
from dummy_forcing.core.decoders.tae_stream import decode_tae_chunk, is_tae
from dummy_forcing.core.decoders.vae_stream import VAEState
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

EXACT = {"atol": 1e-5, "rtol": 1e-5}
PUBLISHED_LAYOUT = {
    "decoder.1.weight": (256, 16, 3, 3),
    "decoder.1.bias": (256,),
    "decoder.3.conv.0.weight": (256, 512, 3, 3),
    "decoder.5.conv.4.bias": (256,),
    "decoder.7.conv.weight": (256, 256, 1, 1),
    "decoder.8.weight": (128, 256, 3, 3),
    "decoder.11.conv.2.weight": (128, 128, 3, 3),
    "decoder.13.conv.weight": (256, 128, 1, 1),
    "decoder.14.weight": (64, 128, 3, 3),
    "decoder.17.conv.0.weight": (64, 128, 3, 3),
    "decoder.19.conv.weight": (128, 64, 1, 1),
    "decoder.20.weight": (64, 64, 3, 3),
    "decoder.22.weight": (3, 64, 3, 3),
    "decoder.22.bias": (3,),
}


def random(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def tae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TAE(TAEShape((12, 8, 6, 6), 4)).requires_grad_(False)
    for parameter in model.parameters():
        parameter *= 2  # PyTorch's initial weights let next to nothing through, past frames least of all
    return model


def decode(tae, latents, sizes=None):
    state = VAEState()
    return torch.cat([decode_tae_chunk(tae, chunk, state) for chunk in latents.split(sizes or 99, dim=2)], dim=2)


def literal(tae, latents):
    """One frame after the other through the weights alone, the memory of a block in a dict (taehv.py)."""
    w, memory, frames = dict(tae.state_dict()), {}, []

    def conv(name, x):
        return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=w[f"{name}.weight"].shape[-1] // 2)

    def block(name, x):
        past = memory.get(name, torch.zeros_like(x))
        memory[name] = x
        hidden = conv(f"{name}.conv.0", torch.cat([x, past], 1)).relu()
        return (conv(f"{name}.conv.4", conv(f"{name}.conv.2", hidden).relu()) + x).relu()

    def level(x, first, strides):
        if first == 21:
            frames.append(conv("decoder.22", x.relu()))
            return
        for place in range(first, first + 3):
            x = block(f"decoder.{place}", x)
        x = conv(f"decoder.{first + 4}.conv", x.repeat_interleave(2, -1).repeat_interleave(2, -2))
        for part in x.chunk(strides[0], dim=1):
            level(conv(f"decoder.{first + 5}", part), first + 6, strides[1:])

    for frame in latents.unbind(2):
        level(conv("decoder.1", 3 * torch.tanh(frame / 3)).relu(), 3, (1, 2, 2))
    return torch.stack(frames[3:], dim=2)


def test_the_names_and_sizes_of_the_published_files():
    with torch.device("meta"):
        state = TAE(TAEShape()).state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLISHED_LAYOUT} == PUBLISHED_LAYOUT
    assert len(state) == 2 + 9 * 6 + 3 + 3 + 2
    assert TAEShape.from_state_dict(state) == TAEShape()
    decoder_bytes = 2 * sum(value.numel() for value in state.values())
    assert 17e6 < decoder_bytes < 20e6  # of the 22.7 MB that taew2_1 has in fp16, encoder included


def test_other_sizes_are_read_off_too(tae):
    assert TAEShape.from_state_dict(tae.state_dict()) == tae.shape


def test_a_clip_is_what_its_authors_compute(tae):
    latents = random(2, 4, 3, 2, 3)
    torch.testing.assert_close(decode(tae, latents), literal(tae, latents), **EXACT)


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 3, 1], [1, 3, 3], [2, 5]], ids=str)
def test_any_cutting_gives_the_whole_clip(tae, sizes):
    latents = random(1, 4, 7, 3, 2)
    whole = decode(tae, latents)
    assert whole.shape == (1, 3, 25, 24, 16) and whole.std() > 0.01
    torch.testing.assert_close(decode(tae, latents, sizes), whole, **EXACT)


@settings(deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_any_cutting_of_any_clip(tae, sizes, seed):
    latents = random(1, 4, sum(sizes), 2, 2, seed=seed)
    torch.testing.assert_close(decode(tae, latents, sizes), decode(tae, latents), **EXACT)


def test_a_block_sees_the_chunk_before(tae):
    """What streaming chunk by chunk without memory would get wrong."""
    latents = random(1, 4, 4, 2, 2)
    alone = decode(tae, latents[:, :, 2:])
    assert (decode(tae, latents)[:, :, -alone.shape[2] :] - alone).abs().max() > 0.01


def test_later_latents_do_not_change_earlier_frames(tae):
    latents = random(1, 4, 4, 2, 2)
    changed = torch.cat([latents[:, :, :3], random(1, 4, 1, 2, 2, seed=1)], dim=2)
    torch.testing.assert_close(decode(tae, changed)[:, :, :9], decode(tae, latents)[:, :, :9], **EXACT)


def test_frames_are_counted_as_by_the_wan_vae(tae):
    state = VAEState()
    counts = [decode_tae_chunk(tae, random(1, 4, frames, 2, 2), state).shape[2] for frames in (1, 1, 3)]
    assert counts == [1, 4, 12]


def test_memory_is_one_frame_a_block(tae):
    state = VAEState()
    for _ in range(2):
        decode_tae_chunk(tae, random(1, 4, 3, 2, 2), state)
        assert state.bytes == 4 * 4 * sum(3 * width * 4**level for level, width in enumerate((12, 8, 6)))


def test_what_is_a_tae():
    with torch.device("meta"):
        assert is_tae(TAE(TAEShape()))
        assert not is_tae(WanVAE(WanVAEShape(width=8)))


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: without(state, "decoder.1.weight"), "no TAEHV decoder"),
        (lambda state: without(state, "decoder.19.conv.weight"), "no TAEHV decoder"),
        (lambda state: {**state, "decoder.1.weight": torch.ones(256, 48, 3, 3)}, "Wan 2.2 5B (48 latent channels"),
        (lambda state: {**state, "decoder.1.weight": torch.ones(256, 32, 3, 3)}, "HunyuanVideo 1.5 (32"),
        (lambda state: {**state, "decoder.22.bias": torch.ones(12)}, "12 output channels"),
        (lambda state: {**state, "decoder.7.conv.weight": torch.ones(512, 256, 1, 1)}, "frames (2, 2, 2)"),
    ],
)
def test_decoders_of_other_models_are_refused(change, words):
    with torch.device("meta"):
        state = TAE(TAEShape()).state_dict()
    with pytest.raises(DummyForcingError) as caught:
        TAEShape.from_state_dict(change(state))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_all_layers_count(tae):
    """No parameter is without effect on a frame in mid-clip."""
    latents = random(1, 4, 3, 2, 2)
    before = decode(tae, latents)
    for name, parameter in itertools.islice(tae.named_parameters(), 0, None, 5):
        kept = parameter.clone()
        parameter.add_(0.1 * random(*parameter.shape))
        assert not torch.equal(decode(tae, latents), before), name
        parameter.copy_(kept)
