"""Opening frames that do not stay what they were: moved along the time axis, or averaged with what leaves a window.

Attention under RoPE sees only the distance between a query and a key. The recent frames are at their true distances
wherever the time axis begins; only the opening ones drift away from the window as the video goes on. Moving their
keys therefore gives the same attention as counting all positions anew within the window (Infinity-RoPE, LongLive's
"infinity" mode, Rolling Forcing's anchor), without touching the others.
"""

from __future__ import annotations

from torch import Tensor

from ..wan.rope import move_in_time


class Sink:
    """The opening frames of the heads of one member of a store.

    k, v: keys, roped at the frames' own positions, and values [B, tokens, H, D]; views into the store, which is
    what queries read. The fp32 copy made here is what is moved and averaged, so that rounding never adds up.
    """

    def __init__(self, k: Tensor, v: Tensor, tokens_per_frame: int):
        self._k, self._v = k, v
        self._keys = k.float()
        self._values: Tensor | None = None
        self._tokens = tokens_per_frame
        self._shift: int | None = 0  # of the keys in the store; None where they are no longer up to date

    @property
    def bytes(self) -> int:
        """Bytes of the copies."""
        held = [self._keys] if self._values is None else [self._keys, self._values]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def place(self, shift: int) -> None:
        """Put the keys `shift` frames later than they were; 0 puts them back."""
        if shift != self._shift:
            self._shift = shift
            self._k.copy_(move_in_time(self._keys, shift) if shift else self._keys)

    def absorb(self, frame: int, k: Tensor, v: Tensor, weight: float) -> None:
        """Average in a frame that leaves the window: weight * opening frame + (1 - weight) * leaving one.

        The store's keys follow with the next `place`.

        Leaving frames go round the opening ones, chunk by chunk in the same order (Reward-Forcing's code).

        Args:
            frame: number of the leaving frame; its keys are roped at this position.
            k, v: its keys and values [B, tokens, H, D].
        """
        if self._values is None:
            self._values = self._v.float()
        slot = frame % (self._keys.shape[1] // self._tokens)
        at = slice(slot * self._tokens, (slot + 1) * self._tokens)
        self._keys[:, at].lerp_(move_in_time(k.float(), slot - frame), 1 - weight)
        self._values[:, at].lerp_(v.float(), 1 - weight)
        self._v[:, at] = self._values[:, at].to(self._v.dtype)
        self._shift = None
