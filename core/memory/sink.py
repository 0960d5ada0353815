"""Opening frames that do not stay what they were: moved along the time axis, or averaged with what leaves a window.

Attention under RoPE sees only the distance between a query and a key. The recent frames are at their true distances
wherever the time axis begins; only the opening ones drift away from the window as the video goes on. Moving their
keys therefore gives the same attention as counting all positions anew within the window (Infinity-RoPE, LongLive's
"infinity" mode, Rolling Forcing's anchor), without touching the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..wan.rope import move_in_time
from .clock import ChunkClock
from .retention import Reading, Retention


class Sink:
    """Keeps the opening frames of some heads as they are, while the store holds what queries are to read.

    Each move starts from the copy, so that rounding never adds up; the copy of averaged frames is fp32, because a
    weight of 0.999 is lost in half precision. The store's frames are handed in as views `k`, `v` [B, tokens, H, D],
    keys roped at the frames' own positions.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device, weight: float | None):
        """shape: [B, tokens, H, D] of the opening frames. weight: theirs in averages; None: no averages."""
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
        """Put the store's keys `shift` latent frames later than the frames' own positions; tells if they moved."""
        if shift and not self._copied:
            self._copy(k, v)
        if shift == self._shift:
            return False
        k.copy_(move_in_time(self._keys, shift) if shift else self._keys)
        self._shift = shift
        return True

    def absorb(self, k: Tensor, v: Tensor, frame: int, leaving_k: Tensor, leaving_v: Tensor) -> None:
        """Average in a frame that leaves the window: weight * opening frame + (1 - weight) * leaving one.

        Leaving frames go round the opening ones, chunk by chunk in the same order (Reward-Forcing's code). The
        store's keys follow with the next `place`.

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
        """Put the store's keys back to their own positions; from here on the store's frames count."""
        self.place(k, v, 0)
        self._copied = False

    def _copy(self, k: Tensor, v: Tensor) -> None:
        self._keys.copy_(k)
        if self._values is not None:
            self._values.copy_(v)
        self._copied = True


def sink_shift(retention: Retention, reading: Reading, after: int | None, clock: ChunkClock) -> int:
    """How many latent frames later the opening frames have to be in a pass, to be right before the recent ones.

    after: see `StoreLayout`; up to there, and where it is None, they stay.
    """
    end = clock.memory_frame + clock.frames
    if after is None or end <= after or not reading.opening:
        return 0
    return max(0, end - (retention.first + reading.recent + clock.frames))
