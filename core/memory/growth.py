"""Chunk-aware growth: how sparse attention may be, chunk by chunk (Light Forcing, arXiv 2602.04789)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .keep import KeepShape

_CLIP_FRAMES = 21  # latent frames of the clips that the method was made for


@dataclass(frozen=True)
class ChunkGrowth:
    """Sparsity as a function of the frames generated so far: base - slope / sqrt(frames), but not below 0.

    Errors of early chunks are handed on to all later ones, so the first chunks are the densest. Asking by frames
    instead of by chunk gives the authors' list wherever chunks end as they do there, and serves others too (start
    images, chunks of one frame). Videos longer than `frames` go on with the last value.

    Attributes:
        base: what sparsity tends to.
        slope: beta in the authors' code.
        frames: latent frames at which growth ends.
    """

    base: float
    slope: float
    frames: int

    @classmethod
    def solve(
        cls, target: float, base: float, shape: KeepShape, total_frames: int | None, window: int | None
    ) -> ChunkGrowth:
        """The growth whose mean over all chunks but the first, weighted by the keys they have, is `target`.

        Args:
            target: sparsity of the whole video, from 0 below 1; 0 is dense throughout.
            base: from `target` below 1.
            total_frames: latent frames of the video. One without end gets the growth of a clip of 21 latent frames,
                or of its window if that is longer: with the true length, early chunks would become ever denser and
                the mean be reached ever later.
            window: latent frames that a head has at most, the current chunk included; None for all.
        """
        if total_frames is None:
            total_frames = max(_CLIP_FRAMES, window or 0)
        later = chunk_ends(shape, total_frames)[1:]
        if target == 0 or not later:
            return cls(target, 0.0, total_frames)
        keys = [end if window is None else min(end, window) for end in later]
        weights = sum(count / math.sqrt(end) for count, end in zip(keys, later, strict=True))
        return cls(base, (base - target) * sum(keys) / weights, total_frames)

    def at(self, frames: int) -> float:
        """Sparsity of a chunk that ends with so many latent frames. The first one, without history, is dense."""
        return max(0.0, self.base - self.slope / math.sqrt(min(frames, self.frames)))


def chunk_ends(shape: KeepShape, total_frames: int) -> list[int]:
    """Latent frames generated once each chunk is done."""
    ends = []
    while not ends or ends[-1] < total_frames:
        ends.append(min(total_frames, shape.start_frame(len(ends) + 1)))
    return ends
