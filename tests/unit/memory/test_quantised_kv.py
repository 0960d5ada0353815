"""KV quantisation: exactly plain memory over frames that have been rounded once, whatever keeps them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory.memory import Cut
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.kv_quantisation import QuantisedKV
from dummy_forcing.core.methods.kv_quantisation.quantised_frames import FORMATS, QuantisedFrames
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.plain import AllKeys, Unmerged
from dummy_forcing.core.methods.positions import Absolute, Relative
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.video import VideoShape

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
FORCED = DummyForcing(roles=((SINK, NEIGHBOR, DUMMY, DUMMY), (NEIGHBOR, NEIGHBOR, NEIGHBOR, SINK)))
LAYERS, HEADS, TOKENS, CHUNK = 2, 4, 2, 3
CPU = torch.device("cpu")
KEEPS = {
    "dense": Dense(),
    "window": Window(2, 7),
    "rolling window": RollingWindow(2, 7),
    "dummy forcing": FORCED,
    "dummy forcing, wide": DummyForcing(roles=FORCED.roles, local_context=2, packed_frames=2),
}


def draw(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def frames_of(kind, slots=4, heads=HEADS, tokens=5, channels=6):
    return QuantisedFrames(slots, (1, tokens, heads, channels), kind, CPU)


def read(frames, first, last, dtype=torch.float32):
    out = torch.empty(1, (last - first) * 5, HEADS, 6, dtype=dtype)
    frames.read(first, last, out)
    return out


def rounded(x, kind, tokens=TOKENS):
    """What whole frames x [B, L, H, D] come back as."""
    batch, length, heads, channels = x.shape
    frames = QuantisedFrames(length // tokens, (batch, tokens, heads, channels), kind, CPU)
    frames.write(0, x)
    out = torch.empty_like(x)
    frames.read(0, length // tokens, out)
    return out


# Numbers


@settings(deadline=None)
@given(st.integers(0, 999), st.floats(0, 6))
def test_what_int8_costs(seed, spread):
    """Half a step, and a step is the largest number of a channel in a frame over 127."""
    x = draw(1, 10, HEADS, 6, seed=seed) * (spread * draw(1, 1, HEADS, 6, seed=seed + 1)).exp()
    frames = frames_of("int8")
    frames.write(1, x)
    error = (read(frames, 1, 3) - x).abs().unflatten(1, (2, 5))
    step = x.unflatten(1, (2, 5)).abs().amax(2, keepdim=True) / 127
    assert (error <= 0.5001 * step).all()


@settings(deadline=None)
@given(st.integers(0, 999))
def test_what_fp8_costs(seed):
    x = draw(1, 10, HEADS, 6, seed=seed)
    frames = frames_of("fp8")
    frames.write(0, x)
    largest = x.unflatten(1, (2, 5)).abs().amax(2, keepdim=True).expand(-1, -1, 5, -1, -1).flatten(1, 2)
    assert ((read(frames, 0, 2) - x).abs() <= 1.0001 * torch.maximum(x.abs() / 16, largest / 448 / 1024)).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_loud_channel_costs_the_others_nothing(kind):
    x = draw(1, 5, HEADS, 6)
    loud = x.clone()
    loud[..., 2] *= 1e4
    first, second = rounded(x, kind, 5), rounded(loud, kind, 5)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(first[..., others], second[..., others])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zeros_and_the_largest_are_exact(kind, dtype):
    x = torch.zeros(1, 5, HEADS, 6, dtype=dtype)
    x[0, 2] = 3.5
    assert torch.equal(rounded(x, kind, 5), x)


@pytest.mark.parametrize("kind", FORMATS)
def test_frames_are_copied_and_not_rounded_again(kind):
    frames, other = frames_of(kind), frames_of(kind)
    frames.write(0, draw(1, 20, HEADS, 6))
    other.take(3, slice(0, 2), frames, 1, [3, 0])
    assert torch.equal(read(other, 3, 4)[:, :, :2], read(frames, 1, 2)[:, :, [3, 0]])
    other.take_all(frames, 2)
    assert torch.equal(read(other, 0, 2), read(frames, 0, 2))


# Memory


class Twins:
    """A quantised memory beside a plain one, whose frames are rounded just before they are committed."""

    def __init__(self, model, keep, rope, kind, total):
        video = VideoShape(LAYERS, HEADS, CHUNK, total, longest_pass=2 * CHUNK, grid=(1, TOKENS), head_dim=12)
        self.kind, self.model, self.seed = kind, model, 0
        self.quantised, self.plain = (
            MemoryConfig(keep, rope, merge).begin(video) for merge in (QuantisedKV(kind), Unmerged())
        )

    def attend(self, start, frames, clean):
        """One pass of both over the same numbers; returns those of every layer."""
        clock = ChunkClock(start // CHUNK, start, frames, TOKENS, int(clean), 0.0, clean)
        passes = []
        for layer in range(LAYERS):
            q, k, v = draw(3, 1, frames * TOKENS, HEADS, 12, seed=self.seed)
            self.seed += 1
            found, expected = (memory.attend(layer, q, k, v, clock) for memory in (self.quantised, self.plain))
            torch.testing.assert_close(found, expected, atol=2e-6, rtol=2e-6, msg=f"layer {layer}, frame {start}")
            passes.append((q, k, v))
        return clock, passes

    def chunk(self, start):
        """Denoising passes, one of them longer, a clean pass and the commit."""
        self.attend(start, CHUNK, clean=False)
        self.attend(start, 2 * CHUNK, clean=False)
        clock, passes = self.attend(start, CHUNK, clean=True)
        for layer, (q, k, v) in enumerate(passes):
            self.plain.attend(layer, q, rounded(k, self.kind), rounded(v, self.kind), clock)
        for memory in (self.quantised, self.plain):
            memory.commit(clock)


@pytest.fixture
def twins(tiny_wan):
    return lambda keep, rope=None, kind="int8", total=60: Twins(tiny_wan, keep, rope or Absolute(), kind, total)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
def test_every_policy_reads_its_frames_rounded_once(twins, keep, kind):
    run = twins(keep, kind=kind)
    for start in range(0, 24, CHUNK):
        run.chunk(start)


@pytest.mark.parametrize("after", [0, 9])
@pytest.mark.parametrize("keep", [Window(2, 7), RollingWindow(2, 7), FORCED], ids=["window", "rolling", "forced"])
def test_opening_frames_move_along_the_time_axis(twins, keep, after):
    run = twins(keep, Relative(after))
    for start in range(0, 24, CHUNK):
        run.chunk(start)


def test_a_video_without_end(twins):
    """Dense memory that doubles when it runs out."""
    run = twins(Dense(), total=None)
    for start in range(0, 60, CHUNK):
        run.chunk(start)


@pytest.mark.parametrize("keep", [Dense(), Window(3, 12)], ids=["dense", "window"])
def test_going_back(twins, keep):
    run = twins(keep, Relative() if isinstance(keep, Window) else None)
    for start in range(0, 18, CHUNK):
        run.chunk(start)
    for memory in (run.quantised, run.plain):
        assert memory.rewind(Cut(3, 12), 6) is False
    for start in range(12, 30, CHUNK):
        run.chunk(start)


@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
def test_forgetting(twins, keep):
    run = twins(keep)
    for start in range(0, 15, CHUNK):
        run.chunk(start)
    for memory in (run.quantised, run.plain):
        memory.forget(Cut(1, 12))
    for start in range(15, 30, CHUNK):
        run.chunk(start)


def test_starting_over(twins):
    run = twins(FORCED)
    for start in range(0, 12, CHUNK):
        run.chunk(start)
    for memory in (run.quantised, run.plain):
        memory.restart(1)
    for start in range(0, 12, CHUNK):
        run.chunk(start)


# Bytes


def held(model, keep, merge, total=60, dtype=torch.bfloat16, tokens=64, chunks=12):
    """Bytes after every commit, and the memory."""
    video = VideoShape(LAYERS, HEADS, CHUNK, total, grid=(1, tokens), head_dim=12, dtype=dtype)
    memory, sizes = MemoryConfig(keep, merge=merge).begin(video), []
    kv = torch.zeros(1, CHUNK * tokens, HEADS, 12, dtype=dtype)
    for chunk in range(chunks):
        clock = ChunkClock(chunk, chunk * CHUNK, CHUNK, tokens, 0, 0.0, True)
        for layer in range(LAYERS):
            memory.attend(layer, kv[:, :1], kv, kv, clock)
        memory.commit(clock)
        sizes.append(memory.status.bytes)
    return sizes, memory


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
def test_bytes_are_flat_as_forecast_and_gone_at_the_end(tiny_wan, keep, kind):
    sizes, memory = held(tiny_wan, keep, QuantisedKV(kind))
    assert len(set(sizes[2:])) == 1
    video = VideoShape(LAYERS, HEADS, CHUNK, 60, grid=(1, 64), head_dim=12, dtype=torch.bfloat16)
    found = forecast_kv(MemoryConfig(keep, merge=QuantisedKV(kind)), video)
    assert (found.peak_bytes, found.final_bytes) == (max(sizes), sizes[-1])
    memory.close()
    assert memory.status.bytes == 0


def test_bytes_are_those_of_the_tensors(tiny_wan):
    """Counted by hand: 8 bits and a scale a channel and frame for all frames, one layer in 16 bits to read."""
    (size, *_), _ = held(tiny_wan, Window(2, 7), QuantisedKV())
    frames, channels = 7, HEADS * 12
    numbers, scales = LAYERS * 2 * frames * 64 * channels, LAYERS * 2 * frames * channels * 4
    assert size == numbers + scales + 2 * frames * 64 * channels * 2
    (plain, *_), _ = held(tiny_wan, Window(2, 7), Unmerged())
    assert numbers == plain / 2


# Configuration


def test_json():
    config = MemoryConfig(Window(3, 12), merge=QuantisedKV("fp8"))
    assert MemoryConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["merge"] == {"method": "quantised", "format": "fp8"}


def test_what_makes_no_sense():
    with pytest.raises(DummyForcingError, match="'int4'; expected 'int8' or 'fp8'"):
        QuantisedKV("int4")
    with pytest.raises(DummyForcingError, match="remove KV quantisation or the sink average"):
        MemoryConfig(Window(3, 12, 0.99), merge=QuantisedKV())


def test_a_video_is_nearly_the_same(tiny_wan, prompt, collect_latents):
    """Close to plain memory, int8 closer than fp8."""

    def make(merge):
        config = StreamConfig((1.0, 0.6, 0.0), 3, 12, (4, 4), channels=4, memory=MemoryConfig(merge=merge))
        return collect_latents(stream_video(tiny_wan, prompt(), config, SeededNoise(0)))

    exact, *found = (make(merge) for merge in (Unmerged(), QuantisedKV("int8"), QuantisedKV("fp8")))
    int8, fp8 = ((each - exact).norm() / exact.norm() for each in found)
    assert 0 < int8 < fp8 < 0.05


def test_a_selection_reads_what_is_held(tiny_wan, prompt, collect_latents):
    """Light Forcing that leaves nothing out is all keys, of a quantised history too."""

    def make(select):
        memory = MemoryConfig(merge=QuantisedKV(), select=select)
        config = StreamConfig((1.0, 0.6, 0.0), 3, 15, (4, 4), channels=4, memory=memory)
        return collect_latents(stream_video(tiny_wan, prompt(), config, SeededNoise(0)))

    everything = make(AllKeys())
    torch.testing.assert_close(make(LightForcing(0)), everything, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(make(LightForcing(0.5, block_q=2, block_k=2)), everything, atol=1e-4)
