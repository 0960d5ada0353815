"""Opening frames that change: moved along the time axis, or averaged with the frames that leave a window.

Attention under RoPE sees only the distance between a query and a key. Recent frames are at their true distances
wherever the time axis begins; only the opening frames drift away from the window as the video goes on. So moving
the keys of the opening frames alone gives the same attention as recounting all positions within the window
(Infinity-RoPE, LongLive's "infinity" mode, Rolling Forcing's anchor).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..clock import ChunkClock
from ..wan.rope import move_in_time
from .retention import Reading, Retention


class Sink:
    """A copy of some heads' original opening frames, while the store holds the version that queries read.

    Each move starts from the copy, so that rounding errors never add up; the copy of averaged frames is fp32,
    because half precision would lose the thousandth that a frame contributes at a weight of 0.999. The store's
    frames are handed in as views `k`, `v` [B, tokens, H, D], keys roped at the frames' own positions.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device, weight: float | None):
        """shape: [B, tokens, H, D] of the opening frames. weight: theirs in averages; None averages nothing."""
        self._weight = weight
        self._keys = torch.empty(shape, dtype=dtype if weight is None else torch.float32, device=device)
        self._values = None if weight is None else torch.empty_like(self._keys)
        self._copied = False
        self._shift: int | None = 0  # of the keys in the store; None where an average is not there yet

    @property
    def tokens(self) -> int:
        """Tokens of the opening frames."""
        return self._keys.shape[1]

    @property
    def bytes(self) -> int:
        """Bytes of the copies."""
        held = (self._keys,) if self._values is None else (self._keys, self._values)
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def place(self, k: Tensor, v: Tensor, shift: int) -> bool:
        """Move the store's keys `shift` latent frames after their own positions; returns whether they moved."""
        if shift and not self._copied:
            self._copy(k, v)
        if shift == self._shift:
            return False
        k.copy_(move_in_time(self._keys, shift) if shift else self._keys)
        self._shift = shift
        return True

    def absorb(self, k: Tensor, v: Tensor, frame: int, leaving_k: Tensor, leaving_v: Tensor) -> None:
        """Average in a frame that leaves the window: weight * opening frame + (1 - weight) * leaving one.

        Successive leaving frames are averaged into the opening frames in turn, in the same order in every chunk
        (Reward-Forcing's code). The store's keys are updated by the next `place`.

        Args:
            k, v: the opening frames in the store.
            frame: number of the leaving frame; its keys are roped at this position.
            leaving_k, leaving_v: its keys and values [B, tokens of a frame, H, D].
        """
        if not self._copied:
            self._copy(k, v)
        tokens = leaving_k.shape[1]
        slot = frame % (k.shape[1] // tokens)
        at = slice(slot * tokens, (slot + 1) * tokens)
        self._keys[:, at].lerp_(move_in_time(leaving_k.float(), slot - frame), 1 - self._weight)
        self._values[:, at].lerp_(leaving_v.float(), 1 - self._weight)
        v[:, at] = self._values[:, at]
        self._shift = None

    def release(self, k: Tensor, v: Tensor) -> None:
        """Move the store's keys back to their own positions; from then on the store's frames are the original."""
        self.place(k, v, 0)
        self._copied = False

    def _copy(self, k: Tensor, v: Tensor) -> None:
        self._keys.copy_(k)
        if self._values is not None:
            self._values.copy_(v)
        self._copied = True


def sink_shift(retention: Retention, reading: Reading, after: int | None, clock: ChunkClock) -> int:
    """By how many latent frames the opening frames must move in a pass to stand right before the recent ones.

    after: see `closes_after` of `FrameStore`; in shorter videos, and where it is None, they do not move.
    """
    end = clock.memory_frame + clock.frames
    if after is None or end <= after or not reading.opening:
        return 0
    return max(0, end - (retention.first + reading.recent + clock.frames))
