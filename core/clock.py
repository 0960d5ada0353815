"""Which chunk and pass a running video has reached, and at which frame: the only source of truth about this."""

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
        sigma: noise level of this pass in [0, 1]; with `frame_sigmas` the highest of them.
        clean: True in the pass at t = 0 whose keys and values are kept.
        frame_sigmas: noise level of each frame, where they differ (Rolling Forcing); None if all are at `sigma`.
        origin_chunk, origin_frame: where the memory of the current rollout begins. Its positions and its own count
            of chunks and frames start there; 0 unless the loop starts memories over (Krea Realtime, CausVid).
    """

    chunk: int
    start_frame: int
    frames: int
    tokens_per_frame: int
    pass_index: int
    sigma: float
    clean: bool
    frame_sigmas: tuple[float, ...] | None = None
    origin_chunk: int = 0
    origin_frame: int = 0

    @property
    def end_frame(self) -> int:
        return self.start_frame + self.frames

    @property
    def positions(self) -> range:
        """Places of the chunk's frames on the RoPE time axis."""
        return range(self.memory_frame, self.memory_frame + self.frames)

    @property
    def memory_chunk(self) -> int:
        """Index of the chunk, counted from `origin_chunk`."""
        return self.chunk - self.origin_chunk

    @property
    def memory_frame(self) -> int:
        """First frame of the chunk, counted from `origin_frame`."""
        return self.start_frame - self.origin_frame
