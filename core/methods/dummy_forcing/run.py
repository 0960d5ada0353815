"""Dummy Forcing at work on one video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...clock import ChunkClock
from ...errors import DummyForcingError
from ...heads.forced import check_forced_roles, force_roles
from ...heads.roles import HeadRole
from ...memory.keep import Allocation
from ...memory.retention import Retention, StoreHeads
from ...video import VideoShape
from . import DummyForcing, Roles


class DummyForcingRun:
    """Dense until classification, then one allocation by role."""

    def __init__(self, config: DummyForcing, video: VideoShape, kept: Roles | None = None):
        """kept: roles from before the memory started over; they take effect once all of the context is committed.

        Raises DummyForcingError if given or forced roles do not fit the model.
        """
        check_forced_roles(config.forced_roles, video.layers, video.heads)
        self.config = config
        self.video = video
        self.roles: Tensor | None = None
        self.masses: Tensor | None = None
        self.observers: Sequence[Any] = ()
        self._known = config.roles if kept is None else kept
        first = 0 if kept is not None else config.classification_chunk
        self.due_chunk = config.due_chunk(video, first, known=self._known is not None)
        if self._known is None:
            self._recorder = config.scorer(video.layers, self._is_scored)
            self.observers = (self._recorder,)
        else:
            self._given = force_roles(_check_roles(self._known, video), config.forced_roles)

    def start(self) -> list[Allocation]:
        dense = (StoreHeads(tuple(range(self.video.heads)), Retention(last=None)),)
        return [dense] * self.video.layers

    def frames_before_regroup(self, total_frames: int | None) -> int | None:
        if self.roles is not None:
            return total_frames
        warm_up = self.video.start_frame(self.due_chunk + 1)
        return warm_up if total_frames is None else min(warm_up, total_frames)

    def after_commit(self, clock: ChunkClock) -> list[Allocation] | None:
        if self.roles is not None or clock.memory_chunk < self.due_chunk:
            return None
        if self._known is not None:
            self.roles = self._given
        else:
            self.masses = self._recorder.masses(clock.chunk, clock.pass_index).mean(0)
            self._recorder.clear()
            self.roles = self.config.program(self.masses)
            self._known = tuple(map(tuple, self.roles.tolist()))
        return [self._allocate(row.tolist()) for row in self.roles]

    def restarted(self, video: VideoShape, new_prompt: bool) -> DummyForcingRun:
        measures = self.config.roles is None and new_prompt and self.config.reclassify == "prompt"
        return DummyForcingRun(self.config, video, None if measures else self._known)

    def _is_scored(self, clock: ChunkClock) -> bool:
        return clock.clean and self.roles is None and clock.memory_chunk == self.due_chunk

    def _allocate(self, roles: list[int]) -> Allocation:
        config = self.config
        whole = Retention(last=None)
        local = None if config.local_context is None else config.local_context * self.video.chunk_frames
        retentions = {
            HeadRole.SINK: whole if local is None else Retention(first=1, last=0),
            HeadRole.DUMMY: Retention(last=config.packed_frames),
            HeadRole.NEIGHBOR: whole if local is None else Retention(last=local, begin=1),
        }
        members = (
            StoreHeads(tuple(head for head, role in enumerate(roles) if role == kind), retention)
            for kind, retention in retentions.items()
        )
        return tuple(member for member in members if member.heads)


def _check_roles(roles: Roles, video: VideoShape) -> Tensor:
    widths = {len(row) for row in roles}
    if len(roles) != video.layers or widths != {video.heads}:
        found = f"{len(roles)} x {'/'.join(map(str, sorted(widths)))}"
        raise DummyForcingError(
            f"the head profile has {found} roles but the model has "
            f"{video.layers} layers x {video.heads} heads; profile this model with `dummy-forcing profile`"
        )
    unknown = {role for row in roles for role in row} - set(HeadRole)
    if unknown:
        raise DummyForcingError(
            f"the head profile has roles {sorted(unknown, key=str)}; expected 0 (sink), 1 (neighbor) or 2 (dummy); "
            "profile this model with `dummy-forcing profile`"
        )
    return torch.tensor(roles, dtype=torch.int64)
