"""Where a running video stands: the only source of truth about chunk, pass and position."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChunkClock:
    """One pass over one chunk.

    Attributes:
        chunk: index of the chunk, from 0.
        start_frame: latent frame the chunk begins with.
        frames: latent frames in the chunk.
        tokens_per_frame: tokens of one latent frame.
        pass_index: 0 for the first denoising pass; the clean pass comes last.
        sigma: noise level of this pass in [0, 1].
        clean: True in the pass at t = 0 whose keys and values are kept.
    """

    chunk: int
    start_frame: int
    frames: int
    tokens_per_frame: int
    pass_index: int
    sigma: float
    clean: bool

    @property
    def end_frame(self) -> int:
        return self.start_frame + self.frames

    @property
    def positions(self) -> range:
        """Places of the chunk's frames on the RoPE time axis."""
        return range(self.start_frame, self.end_frame)
