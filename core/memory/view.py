"""What a pass may read of a store."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...kernels import ReadPlan


@dataclass(frozen=True, eq=False)
class KVView:
    """Keys and values of a store's heads during one pass.

    Attributes:
        k, v: [B, tokens, heads, D]; may be larger than what is read.
        plan: what every query may read, the pass's own keys included.
        own: [start, end) of the pass's own keys.
        version: another number whenever the history differs from that of an earlier view of the same store.
            What is derived from the history may be kept as long as it stays the same.
        frames: latent frame of each frame-sized block of keys that is read, in the order of the plan's ranges, the
            pass's own frames last; None where heads hold different frames, or keys are not whole frames.
    """

    k: Tensor
    v: Tensor
    plan: ReadPlan
    own: tuple[int, int]
    version: int
    frames: tuple[int, ...] | None
