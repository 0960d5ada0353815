"""What Rolling Forcing's passes read, against a list that follows the rules of its authors' code.

Source of the rules: TencentARC/RollingForcing, wan/modules/causal_model.py. The cache holds the first block without
RoPE and rolls behind it; 24 frames fit in, 21 are attended at most. A joint pass reads the first block, placed
right before what else it reads, then as many of the newest cached frames as there is room for, then itself. A clean
pass reads the newest 21 frames of the cache, itself among them, the first block at its own place while it is one of
them.
"""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.window import RollingWindow, Window

EASY = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
EXACT = {"atol": 1e-5, "rtol": 1e-5}


class AuthorsCache:
    """Frame numbers in the cache, and (place, frame) of what a pass reads besides itself."""

    def __init__(self, block, attended):
        self.block, self.attended, self.size = block, attended, attended + block
        self.frames = []

    def joint(self, start, frames):
        if start == 0:
            return []
        anchor, rest = self.frames[: self.block], self._rolled()[self.block :]
        room = self.attended - frames - self.block
        working = rest[max(0, len(rest) - room) :] if room > 0 else []
        first = start - len(working) - self.block
        return [(first + i, frame) for i, frame in enumerate(anchor)] + [(frame, frame) for frame in working]

    def clean(self, start):
        if start == 0:
            return []
        room = self.attended - self.block
        return [(frame, frame) for frame in self._rolled()[-room:]] if room else []

    def write(self, start):
        self.frames = [*self._rolled(), *range(start, start + self.block)]

    def _rolled(self):
        """The cache once there is room for a block more."""
        over = len(self.frames) + self.block - self.size
        return self.frames if over <= 0 else self.frames[: self.block] + self.frames[self.block + over :]


@given(block=st.integers(1, 3), levels=st.integers(1, 5), blocks=st.integers(1, 14), extra=st.integers(0, 3))
@EASY
def test_passes_read_what_the_authors_code_reads(roped, block, levels, blocks, extra):
    size = block * (levels + 1 + extra)
    config = MemoryConfig(RollingWindow(block, size), Relative())
    run = roped(config, heads=1, chunk_frames=block, pass_frames=levels * block)
    cache = AuthorsCache(block, size)

    def check(start, qkv, out, read):
        context = [(place, *run.frames[frame]) for place, frame in read]
        torch.testing.assert_close(
            out[:, :, 0].double(), run.literal(0, qkv, start, context), **EXACT, msg=f"at frame {start}"
        )

    for window in range(blocks + levels - 1):
        first, last = max(0, window - levels + 1), min(window, blocks - 1)
        start, frames = first * block, (last - first + 1) * block
        joint = run.draw(frames)
        check(start, joint, run.attend(start, joint, clean=False), cache.joint(start, frames))
        if window >= levels - 1:
            clean = run.draw(block)
            check(start, clean, run.commit(start, clean), cache.clean(start))
            cache.write(start)


def test_the_published_sizes():
    """Five levels of blocks of 3: 21 frames attended, 24 cached."""
    cache = AuthorsCache(3, 21)
    for start in range(0, 60, 3):
        cache.write(start)
    assert cache.size == len(cache.frames) == 24
    assert [frame for _, frame in cache.joint(60, 15)] == [0, 1, 2, 57, 58, 59]
    assert [place for place, _ in cache.joint(60, 15)] == [54, 55, 56, 57, 58, 59]
    assert [frame for _, frame in cache.clean(60)] == list(range(42, 60))


def test_without_joint_passes_before_anything_is_lost_it_reads_what_a_window_reads(roped):
    runs = [roped(MemoryConfig(keep), chunk_frames=3) for keep in (RollingWindow(3, 21), Window(3, 21))]
    for start in range(0, 21, 3):
        qkv = runs[0].draw(3)
        outs = [run.commit(start, qkv) for run in runs]
        assert torch.equal(*outs)


@pytest.mark.parametrize(
    ("sink", "size", "said"),
    [
        (-1, 9, "sink is -1; expected 0 or more latent frames"),
        (3, 0, "size is 0; expected 1 or more latent frames"),
    ],
)
def test_invalid_sizes(sink, size, said):
    with pytest.raises(DummyForcingError, match=said):
        RollingWindow(sink, size)
