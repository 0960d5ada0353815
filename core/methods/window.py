"""Sliding windows with a sink: the plain baseline for long videos, and what several families were trained with."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DummyForcingError
from ..memory.keep import Uniform
from ..memory.retention import Retention
from ..video import VideoShape
from .base import KeepMethod
from .declaration import option

_SIZE = "Latent frames that a head sees in all: the sink, recent frames and the current chunk."
_SINK = "First latent frames of the video that always stay in sight. 0 for none."


@dataclass(frozen=True)
class Window(
    KeepMethod,
    name="window",
    title="Window",
    about="The first latent frames of the video and the most recent ones, the same for all heads.",
):
    """Every head reads `sink` opening frames and the most recent ones, `size` latent frames in all.

    `size` includes the current chunk, as in the families' own configurations (LongLive: size 12, sink 3).
    `sink_average`: weight with which sink frames take in those that leave the window (Reward-Forcing's EMA sink:
    sink <- a * sink + (1 - a) * leaving, a = 0.999); None keeps the opening frames as they are.
    """

    sink: int = option(3, _SINK, low=0, most=1024, unit="latent frames", flag="sink")
    size: int = option(12, _SIZE, low=1, most=4096, unit="latent frames", flag="window")
    sink_average: float | None = None

    bench = ("size", "sink")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sink_average is not None and not (0 <= self.sink_average <= 1 and self.sink):
            raise DummyForcingError(
                f"sink average is {self.sink_average} for a sink of {self.sink} frames; expected a weight between "
                "0 and 1 and at least one sink frame, or none"
            )

    def begin(self, video: VideoShape) -> Uniform:
        recent = _recent_frames(self.sink, self.size, video)
        return Uniform(video, Retention(first=self.sink, last=recent, average=self.sink_average))

    def longest_history(self, video: VideoShape) -> int:
        return self.size - video.chunk_frames

    def describe(self) -> str:
        return f"a window of {self.size} latent frames, {self.sink} of them the first"


@dataclass(frozen=True)
class RollingWindow(
    KeepMethod,
    name="rolling_window",
    title="Rolling window",
    about="A window of which passes over several chunks read as much as fits (Rolling Forcing).",
):
    """Rolling Forcing's window: every pass reads `size` latent frames in all, its own included.

    Joint passes over several chunks at once read the `sink` opening frames, as many of the recent ones as fit, and
    their own chunks. Clean passes over one chunk read the newest frames; opening frames only if they are among
    these.
    """

    sink: int = option(3, _SINK, low=0, most=1024, unit="latent frames", flag="sink")
    size: int = option(21, _SIZE, low=1, most=4096, unit="latent frames", flag="window")

    bench = ("size", "sink")
    on_nodes = False  # only its family's loop has joint passes
    reads_all = False

    def begin(self, video: VideoShape) -> Uniform:
        recent = self.sink + _recent_frames(self.sink, self.size, video)
        return Uniform(video, Retention(first=self.sink, last=recent, view=self.size))

    def longest_history(self, video: VideoShape) -> int:
        return self.size - video.chunk_frames

    def describe(self) -> str:
        return f"a window of {self.size} latent frames, {self.sink} of them the first"


def _recent_frames(sink: int, size: int, video: VideoShape) -> int:
    """Room for history behind the sink."""
    recent = size - sink - video.chunk_frames
    if recent < 0:
        raise DummyForcingError(
            f"a window of {size} latent frames cannot hold a sink of {sink} and a chunk of {video.chunk_frames}; "
            f"use a size of at least {sink + video.chunk_frames}"
        )
    return recent
