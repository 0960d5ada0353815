"""The keep slot: which frames each head retains, as an allocation of heads to retentions over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from ..clock import ChunkClock
from ..video import VideoShape
from .retention import Retention, StoreHeads

if TYPE_CHECKING:
    from torch import Tensor

Allocation = tuple[StoreHeads, ...]
"""What one layer keeps: a retention for each of its heads."""


class KeepRun(Protocol):
    """A keep method at work on one video."""

    video: VideoShape

    observers: Sequence[Any]
    """Attention observers that the method needs, such as the one that scores heads."""

    roles: Tensor | None
    """Head roles [layers, heads] once assigned."""

    masses: Tensor | None
    """Attention masses [layers, heads, 3] behind the roles, if they were measured."""

    def start(self) -> list[Allocation]:
        """The allocation of every layer before the first chunk."""
        ...

    def frames_before_regroup(self, total_frames: int | None) -> int | None:
        """Frames committed under the present allocation before it changes; None if unknown."""
        ...

    def after_commit(self, clock: ChunkClock) -> list[Allocation] | None:
        """A new allocation of every layer after this chunk, or None to go on as before."""
        ...

    def restarted(self, video: VideoShape, new_prompt: bool) -> KeepRun:
        """The run to go on with when the memory starts over, perhaps because the prompt has changed."""
        ...


class Uniform:
    """All heads of all layers under one retention for the whole video."""

    observers: Sequence[Any] = ()
    roles: Tensor | None = None
    masses: Tensor | None = None

    def __init__(self, video: VideoShape, retention: Retention):
        self.video = video
        self._allocation = (StoreHeads(tuple(range(video.heads)), retention),)

    def start(self) -> list[Allocation]:
        return [self._allocation] * self.video.layers

    def frames_before_regroup(self, total_frames: int | None) -> int | None:
        return total_frames

    def after_commit(self, clock: ChunkClock) -> None:
        return None

    def restarted(self, video: VideoShape, new_prompt: bool) -> Uniform:
        return self


def allocations(run: KeepRun) -> Iterator[tuple[ChunkClock, list[Allocation]]]:
    """Yields, without end, each chunk's clean-pass clock and what every layer keeps while this chunk is generated.

    The run must not need a measurement (`KeepMethod.upper_bound`).
    """
    video, kept = run.video, run.start()
    for chunk in count():
        start = video.start_frame(chunk)
        clock = ChunkClock(chunk, start, video.start_frame(chunk + 1) - start, 1, 0, 0.0, True)
        yield clock, kept
        kept = run.after_commit(clock) or kept
