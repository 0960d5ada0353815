"""Reward-Forcing's EMA sink against its definition on un-roped keys and values."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.positions import Absolute, Relative
from dummy_forcing.core.methods.window import Window

EASY = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
EXACT = {"atol": 2e-5, "rtol": 2e-5}


class EMASink:
    """A cache of un-roped frames: those that do not fit any more are averaged into the sink, in turn."""

    def __init__(self, sink, room, alpha):
        self.sink, self.room, self.alpha = sink, room, alpha
        self.opening, self.recent, self.evicted = [], [], 0

    def add(self, pairs):
        for k, v in pairs:
            if len(self.opening) < self.sink:
                self.opening.append((k.double(), v.double()))
            else:
                self.recent.append((k.double(), v.double()))
        while len(self.recent) > self.room:
            slot = self.evicted % self.sink
            self.opening[slot] = tuple(
                self.alpha * mean + (1 - self.alpha) * leaving
                for mean, leaving in zip(self.opening[slot], self.recent.pop(0), strict=True)
            )
            self.evicted += 1


@given(
    sink=st.integers(1, 4),
    room=st.integers(0, 5),
    chunk=st.integers(1, 3),
    alpha=st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0]),
    relative=st.booleans(),
)
@EASY
def test_the_sink_is_the_moving_average_of_what_left_the_window(roped, sink, room, chunk, alpha, relative):
    rope = Relative() if relative else Absolute()
    run = roped(MemoryConfig(Window(sink, sink + room + chunk, alpha), rope), heads=1, chunk_frames=chunk)
    literal = EMASink(sink, room, alpha)
    for start in range(0, 9 * chunk, chunk):
        kept = [*literal.opening, *literal.recent]
        gap = 0 if relative else start - len(kept)
        places = [
            *range(len(literal.opening)),
            *(len(literal.opening) + gap + i for i in range(len(literal.recent))),
        ]
        context = [(place, *pair) for place, pair in zip(places, kept, strict=True)]
        own = len(kept) if relative else start
        for clean in (False, True):
            qkv = run.draw(chunk)
            out = run.attend(start, qkv, clean=clean)[:, :, 0].double()
            torch.testing.assert_close(out, run.literal(0, qkv, own, context), **EXACT, msg=f"at frame {start}")
        run.commit(start, qkv)
        literal.add(run.frames[frame] for frame in range(start, start + chunk))


@pytest.mark.parametrize("rope", [Absolute(), Relative()], ids=repr)
def test_weight_one_is_an_ordinary_sink(roped, rope):
    runs = [roped(MemoryConfig(Window(2, 5, weight), rope), chunk_frames=1) for weight in (None, 1.0)]
    for start in range(12):
        qkv = runs[0].draw(1)
        outs = [run.commit(start, qkv) for run in runs]
        assert torch.equal(*outs)


def test_weight_zero_reads_the_frames_that_left_last(roped):
    """With positions counted anew, the window just is longer, by the sink."""
    latest = roped(MemoryConfig(Window(2, 6, 0.0), Relative()), chunk_frames=2)
    window = roped(MemoryConfig(Window(0, 6), Relative()), chunk_frames=2)
    for start in range(0, 20, 2):
        qkv = latest.draw(2)
        torch.testing.assert_close(latest.commit(start, qkv), window.commit(start, qkv), **EXACT)


def test_a_small_weight_moves_a_bf16_sink_too(roped):
    """0.999 a + 0.001 b is a in bf16: the average must be kept in more digits than the store has."""
    run = roped(MemoryConfig(Window(1, 3, 0.999), Relative()), heads=1, chunk_frames=1, dtype=torch.bfloat16)
    zero = torch.zeros(run.batch, run.tokens, 1, run.head_dim, dtype=torch.bfloat16)
    first, later = (zero, zero, zero + 1.0), (zero, zero, zero - 1.0)
    for start in range(1001):
        run.commit(start, later if start else first)
    seen = run.attend(1001, (zero, zero, zero)).float().mean()  # equal weights: sink, one recent, itself
    sink = -1 + 2 * 0.999**999  # frames 1 to 999 have left
    assert seen.item() == pytest.approx((sink - 1 + 0) / 3, abs=0.01)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weights_are_shares(weight):
    with pytest.raises(DummyForcingError, match="expected a weight between 0 and 1"):
        Window(3, 9, weight)


def test_an_average_needs_a_sink():
    with pytest.raises(DummyForcingError, match="at least one sink frame"):
        Window(0, 9, 0.999)
