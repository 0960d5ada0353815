"""What a memory lets a pass read: with `core.wan.cost`, the floor that a measured time is held against."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from ..memory.clock import ChunkClock
from ..memory.config import MemoryConfig
from ..memory.dummy_forcing import DummyForcing
from ..memory.keep import KeepPolicy, KeepShape, allocations
from ..memory.select import SelectShape


def key_frames(memory: MemoryConfig, video: SelectShape, clock: ChunkClock) -> float | None:
    """Latent frames' worth of keys that a query reads in a pass, its own included; mean over layers and heads.

    Asks the methods themselves. Roles that are to be measured have to be given; None where what is read depends on
    the keys.
    """
    _, kept = next(islice(allocations(memory.keep, video.keep), clock.chunk, None))
    select, read = memory.select.begin(video), 0.0
    for allocation in kept:
        for member in allocation:
            share = select.share(member.retention, clock)
            if share is None:
                return None
            reading = member.retention.reading(clock.memory_frame, clock.frames, clock.clean)
            read += len(member.heads) * share * (reading.opening + reading.recent + clock.frames)
    return read / (video.keep.layers * video.keep.heads)


def with_classification(
    memory: MemoryConfig, roles: tuple[tuple[int, ...], ...] | None, shape: KeepShape
) -> MemoryConfig:
    """The memory as it ran, with the roles that it measured or was given."""
    keep: KeepPolicy = memory.keep
    if roles is None or not isinstance(keep, DummyForcing) or keep.roles is not None:
        return memory
    return replace(memory, keep=replace(keep, roles=roles, classification_chunk=keep.begin(shape).due_chunk))
