"""The keep slot: which frames each head retains, as an allocation of heads to retentions over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from torch import Tensor

from .clock import ChunkClock
from .retention import Retention
from .store import StoreHeads

Allocation = tuple[StoreHeads, ...]
"""What one layer keeps: a retention for each of its heads."""


@dataclass(frozen=True)
class KeepShape:
    """What a keep policy may know of the model and the video.

    The first chunk has `first_frames` latent frames (None: as many as the others), all others `chunk_frames`.
    Chunks before `first_chunk` are context that a memory is given when it starts over; they are not generated.
    """

    layers: int
    heads: int
    chunk_frames: int
    first_frames: int | None = None
    first_chunk: int = 0

    def start_frame(self, chunk: int) -> int:
        """The latent frame with which a chunk begins."""
        first = self.chunk_frames if self.first_frames is None else self.first_frames
        return first + (chunk - 1) * self.chunk_frames if chunk else 0


class KeepRun(Protocol):
    """A keep policy at work on one video; the mutable side of a policy."""

    shape: KeepShape

    observers: Sequence[Any]
    """Attention observers that the policy needs, such as the one that scores heads."""

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

    def again(self, shape: KeepShape, new_prompt: bool) -> KeepRun:
        """The run that follows when the memory starts over, maybe because the prompt has changed."""
        ...


class KeepPolicy(Protocol):
    """A method of the keep slot: frozen, JSON-serialisable configuration."""

    @property
    def keeps_all(self) -> bool:
        """Whether some heads keep every frame for good."""
        ...

    def begin(self, shape: KeepShape) -> KeepRun: ...

    def costliest(self, shape: KeepShape) -> KeepPolicy:
        """A policy that needs no measurement and as much memory as this one may come to need."""
        ...


class Uniform:
    """All heads of all layers under one retention for the whole video."""

    observers: Sequence[Any] = ()
    roles: Tensor | None = None
    masses: Tensor | None = None

    def __init__(self, shape: KeepShape, retention: Retention):
        self.shape = shape
        self._allocation = (StoreHeads(tuple(range(shape.heads)), retention),)
        self._layers = shape.layers

    def start(self) -> list[Allocation]:
        return [self._allocation] * self._layers

    def frames_before_regroup(self, total_frames: int | None) -> int | None:
        return total_frames

    def after_commit(self, clock: ChunkClock) -> None:
        return None

    def again(self, shape: KeepShape, new_prompt: bool) -> Uniform:
        return self


def allocations(keep: KeepPolicy, shape: KeepShape) -> Iterator[tuple[ChunkClock, list[Allocation]]]:
    """What every layer keeps while each chunk is generated, without end; clocks are those of clean passes.

    Asks the policy itself, which must not need a measurement (`KeepPolicy.costliest`).
    """
    run = keep.begin(shape)
    kept = run.start()
    for chunk in count():
        start = shape.start_frame(chunk)
        clock = ChunkClock(chunk, start, shape.start_frame(chunk + 1) - start, 1, 0, 0.0, True)
        yield clock, kept
        kept = run.after_commit(clock) or kept
