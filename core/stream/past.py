"""Clean latents that a stream may need again: the first chunk and the newest ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from torch import Tensor

from ..clock import ChunkClock


@dataclass(frozen=True, eq=False)
class PastChunk:
    """Finished latents [B, C, F, h, w] and the clock of their chunk."""

    clock: ChunkClock
    latents: Tensor


class PastLatents:
    """Holds the first chunk, and of the newest as many as are needed for `frames` latent frames."""

    def __init__(self, frames: int):
        self._frames = frames
        self._first: PastChunk | None = None
        self._newest: deque[PastChunk] = deque()

    def add(self, clock: ChunkClock, latents: Tensor) -> None:
        """Take a finished chunk."""
        chunk = PastChunk(clock, latents)
        self._first = self._first or chunk
        self._newest.append(chunk)
        while self._newest[0].clock.end_frame <= clock.end_frame - self._frames:
            self._newest.popleft()

    @property
    def first(self) -> PastChunk:
        """The first chunk of the video."""
        return self._first

    def since(self, frame: int) -> list[PastChunk]:
        """The chunks held that end after `frame`, oldest first."""
        return [chunk for chunk in self._newest if chunk.clock.end_frame > frame]

    def replace(self, frame: int, latents: Tensor) -> None:
        """Replace the latents of the chunk that begins with `frame`."""
        at = next(index for index, chunk in enumerate(self._newest) if chunk.clock.start_frame == frame)
        self._newest[at] = PastChunk(self._newest[at].clock, latents)
