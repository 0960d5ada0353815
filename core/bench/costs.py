"""What a memory lets a pass read; with it, `core.wan.cost` gives the floor to compare measured times with."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from ..clock import ChunkClock
from ..memory.keep import allocations
from ..memory_config import MemoryConfig
from ..video import VideoShape


def key_frames(memory: MemoryConfig, video: VideoShape, clock: ChunkClock) -> float | None:
    """Keys that a query reads in a pass, in latent frames, the pass's own included; mean over layers and heads.

    The methods themselves are asked. Roles that a method would measure must be given. None if what is read depends
    on the keys.
    """
    _, kept = next(islice(allocations(memory.keep.begin(video)), clock.chunk, None))
    select, read = memory.select.begin(video), 0.0
    for allocation in kept:
        for member in allocation:
            share = select.share(member.retention, clock)
            if share is None:
                return None
            reading = member.retention.reading(clock.memory_frame, clock.frames, clock.clean)
            read += len(member.heads) * share * (reading.opening + reading.recent + clock.frames)
    return read / (video.layers * video.heads)


def with_classification(
    memory: MemoryConfig, roles: tuple[tuple[int, ...], ...] | None, video: VideoShape
) -> MemoryConfig:
    """The memory as it ran, with the roles that it measured or was given."""
    if roles is None:
        return memory
    return replace(memory, keep=memory.keep.with_roles(roles, memory.keep.measured_in(video)))
