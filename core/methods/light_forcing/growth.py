"""Chunk-aware growth: how sparse attention may be, chunk by chunk (Light Forcing, arXiv 2602.04789)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...video import VideoShape

_CLIP_FRAMES = 21  # latent frames of the clips that the method was made for


@dataclass(frozen=True)
class ChunkGrowth:
    """Sparsity as a function of the frames generated so far: base - slope / sqrt(frames), but not below 0.

    Errors of early chunks are passed on to all later ones, so the first chunks are the densest. Counting frames
    instead of chunks gives the authors' list for their chunks and also works for others (start images, chunks of
    one frame). Videos longer than `frames` continue with the last value.

    Attributes:
        base: the value that sparsity approaches.
        slope: beta in the authors' code.
        frames: latent frames at which growth ends.
    """

    base: float
    slope: float
    frames: int

    @classmethod
    def solve(cls, target: float, base: float, video: VideoShape, window: int | None) -> ChunkGrowth:
        """The growth whose mean over all chunks but the first, weighted by the keys they have, is `target`.

        Args:
            target: sparsity of the whole video, at least 0 and below 1; 0 is dense throughout.
            base: at least `target` and below 1.
            video: its length and chunks. A video without end gets the growth of a clip of 21 latent frames, or of
                its window if that is longer: the longer the length assumed, the denser early chunks become and the
                later the mean is reached.
            window: latent frames that a head has at most, the current chunk included; None for all.
        """
        total_frames = video.total_frames or max(_CLIP_FRAMES, window or 0)
        later = replace(video, total_frames=total_frames).chunk_ends()[1:]
        if target == 0 or not later:
            return cls(target, 0.0, total_frames)
        keys = [end if window is None else min(end, window) for end in later]
        weights = sum(count / math.sqrt(end) for count, end in zip(keys, later, strict=True))
        return cls(base, (base - target) * sum(keys) / weights, total_frames)

    def at(self, frames: int) -> float:
        """Sparsity of the chunk after which a video has this many latent frames. The first chunk is dense."""
        return max(0.0, self.base - self.slope / math.sqrt(min(frames, self.frames)))
