"""Sliding windows with a sink: the plain baseline for long videos, and what several families were trained with."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DummyForcingError
from .keep import KeepShape, Uniform
from .retention import Retention


@dataclass(frozen=True)
class Window:
    """Every head reads `sink` opening frames and the most recent ones, `size` latent frames in all.

    `size` counts the current chunk, as in the families' own configurations (LongLive: size 12, sink 3).
    `sink_average`: weight with which sink frames take in those that leave the window (Reward-Forcing's EMA sink:
    sink <- a * sink + (1 - a) * leaving, a = 0.999); None keeps the opening frames as they are.
    """

    sink: int = 3
    size: int = 12
    sink_average: float | None = None

    def __post_init__(self) -> None:
        if self.sink < 0 or self.size < 1:
            raise DummyForcingError(
                f"window of {self.size} frames with a sink of {self.sink}: expected size >= 1 and sink >= 0"
            )
        if self.sink_average is not None and not (0 <= self.sink_average <= 1 and self.sink):
            raise DummyForcingError(
                f"sink average is {self.sink_average} for a sink of {self.sink} frames; expected a weight between "
                "0 and 1 and at least one sink frame, or none"
            )

    @property
    def keeps_all(self) -> bool:
        return False

    def begin(self, shape: KeepShape) -> Uniform:
        recent = _recent_frames(self.sink, self.size, shape)
        return Uniform(shape, Retention(first=self.sink, last=recent, average=self.sink_average))

    def costliest(self, shape: KeepShape) -> Window:
        return self


@dataclass(frozen=True)
class RollingWindow:
    """Rolling Forcing's window: every pass reads `size` latent frames in all, its own included.

    Joint passes over several chunks at once read the `sink` opening frames, as much of the recent ones as fits, and
    themselves; clean passes over one chunk the newest frames, the sink among them only while it is one of these.
    """

    sink: int = 3
    size: int = 21

    def __post_init__(self) -> None:
        if self.sink < 0 or self.size < 1:
            raise DummyForcingError(
                f"window of {self.size} frames with a sink of {self.sink}: expected size >= 1 and sink >= 0"
            )

    @property
    def keeps_all(self) -> bool:
        return False

    def begin(self, shape: KeepShape) -> Uniform:
        recent = self.sink + _recent_frames(self.sink, self.size, shape)
        return Uniform(shape, Retention(first=self.sink, last=recent, view=self.size))

    def costliest(self, shape: KeepShape) -> RollingWindow:
        return self


def _recent_frames(sink: int, size: int, shape: KeepShape) -> int:
    """Room for history behind the sink."""
    recent = size - sink - shape.chunk_frames
    if recent < 0:
        raise DummyForcingError(
            f"a window of {size} latent frames cannot hold a sink of {sink} and a chunk of {shape.chunk_frames}; "
            f"use a size of at least {sink + shape.chunk_frames}"
        )
    return recent
