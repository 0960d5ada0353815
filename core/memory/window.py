"""Sliding window with a sink: the plain baseline for long videos."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DummyForcingError
from .keep import KeepShape, Uniform
from .retention import Retention


@dataclass(frozen=True)
class Window:
    """Every head reads `sink` opening frames and the most recent ones, `size` latent frames in all.

    `size` counts the current chunk, as in the families' own configurations (LongLive: size 12, sink 3).
    """

    sink: int = 3
    size: int = 12

    def __post_init__(self) -> None:
        if self.sink < 0 or self.size < 1:
            raise DummyForcingError(
                f"window of {self.size} frames with a sink of {self.sink}: expected size >= 1 and sink >= 0"
            )

    def begin(self, shape: KeepShape) -> Uniform:
        recent = self.size - self.sink - shape.chunk_frames
        if recent < 0:
            raise DummyForcingError(
                f"a window of {self.size} latent frames cannot hold a sink of {self.sink} and a chunk of "
                f"{shape.chunk_frames}; use a size of at least {self.sink + shape.chunk_frames}"
            )
        return Uniform(shape, Retention(first=self.sink, last=recent))

    def costliest(self, shape: KeepShape) -> Window:
        return self
