"""What a running stream reports."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..clock import ChunkClock
from ..memory.select_report import SelectReport


@dataclass(frozen=True)
class PassDone:
    """One forward pass is over.

    Attributes:
        clock: of this pass.
        passes: how many the chunk has, the clean pass included.
        estimate: clean latents [B, C, F, h, w] as this pass predicts them; for the clean pass, those that it kept.
        skipped: whether it reused the blocks' residual of the pass before.
    """

    clock: ChunkClock
    passes: int
    estimate: Tensor
    skipped: bool = False


@dataclass(frozen=True)
class ContextComputed:
    """Finished latents have gone through the model again: at the start of a rollout or after a change of prompt.

    Attributes:
        clock: of this clean pass.
    """

    clock: ChunkClock


@dataclass(frozen=True)
class HeadsClassified:
    """Heads have been given their roles.

    Attributes:
        roles: int64 [layers, heads], values of `HeadRole`.
        masses: fp32 [layers, heads, 3] that the roles follow from, None if the roles were given.
    """

    roles: Tensor
    masses: Tensor | None


@dataclass(frozen=True)
class ChunkDone:
    """A chunk is finished and its keys and values are kept.

    Attributes:
        clock: of the clean pass, or of the last pass where a rollout ends and nothing is kept.
        latents: [B, C, F, h, w] in the backbone's scale, on the model's device.
        seconds: wall-clock time spent in the model for this chunk, not counting time between events.
        kv_bytes: bytes of keys and values allocated after the commit.
        history_frames: latent frames of history that a head holds after the commit, mean over layers and heads.
        selected: what a select method that depends on the keys has read so far.
    """

    clock: ChunkClock
    latents: Tensor
    seconds: float
    kv_bytes: int
    history_frames: float
    selected: SelectReport | None = None


Event = PassDone | ContextComputed | HeadsClassified | ChunkDone
