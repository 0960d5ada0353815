"""Dummy Forcing: each head keeps only the context it uses (arXiv 2601.20499).

Until the classification chunk has been committed all heads are dense. In its clean pass an observer measures how
much attention every head pays to frame 0, to the other history and to the current chunk; dynamic head programming
turns the masses into roles; from then on

* a sink head reads frame 0 and the current chunk,
* a dummy head reads the last `packed_frames` frames and the current chunk (packed attention forcing: one frame
  makes its context as long as a sink head's, so both share one attention call),
* a neighbor head reads the last `local_context` chunks (without frame 0) and the current chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..heads.forced import ForcedRoles, are_forced_roles, check_forced_roles, force_roles
from ..heads.programming import Cost, program_heads
from ..heads.recorder import MassRecorder
from ..heads.roles import HeadRole
from .clock import ChunkClock
from .keep import Allocation, KeepShape
from .retention import Retention
from .store import StoreHeads

Roles = tuple[tuple[int, ...], ...]
_LEAST_HISTORY = 2  # latent frames: frame 0 and another


@dataclass(frozen=True)
class DummyForcing:
    """Head-wise context by online classification, or by given roles.

    Attributes:
        dummy_ratio: share of all heads, over all layers, that become dummy heads.
        local_context: chunks that a neighbor head looks back; None gives neighbor and sink heads the whole
            history, so that only dummy heads are cut (with dummy_ratio 0 this is Dense).
        packed_frames: recent frames that a dummy head keeps; 0 cuts its history altogether.
        classification_chunk: roles take effect once this chunk is committed; its clean pass is what is scored. A
            chunk whose history is frame 0 alone cannot tell sink from neighbor heads, so that the next one is
            scored instead.
        cost: "normalised" divides sink and neighbor masses by their sums over all heads (the authors' code),
            "paper" takes them as they are.
        row_fraction: share of the queries that the scores are estimated from.
        seed: of the row sampling.
        reclassify: "prompt" measures heads again once the history has been computed anew under a new prompt,
            "never" keeps the first roles. Roles outlive memories that start over under the same prompt.
        roles: head roles [layers][heads] from a head profile; None classifies online.
        forced_roles: heads whose role is set by hand, whatever was measured or given; see `program_heads`.

    Masses are averaged over the batch, so all items share one set of roles: every group stays one dense attention
    call and one store. Items with very different prompts are better run one after the other.
    """

    dummy_ratio: float = 0.5
    local_context: int | None = 1
    packed_frames: int = 1
    classification_chunk: int = 1
    cost: Cost = "normalised"
    row_fraction: float = 0.25
    seed: int = 0
    reclassify: Literal["prompt", "never"] = "prompt"
    roles: Roles | None = field(default=None, repr=False)
    forced_roles: ForcedRoles = ()

    def __post_init__(self) -> None:
        first = 0 if self.roles is not None else 1
        checks = (
            (0 <= self.dummy_ratio <= 1, f"dummy ratio is {self.dummy_ratio}; expected a share between 0 and 1"),
            (
                self.local_context is None or self.local_context >= 1,
                f"local context is {self.local_context}; expected at least 1 chunk",
            ),
            (self.packed_frames >= 0, f"packed frames is {self.packed_frames}; expected 0 or more"),
            (
                self.classification_chunk >= first,
                f"classification chunk is {self.classification_chunk}; expected at least {first}: the first chunk "
                "has no history to score",
            ),
            (self.cost in ("normalised", "paper"), f"cost rule is {self.cost!r}; expected 'normalised' or 'paper'"),
            (0 < self.row_fraction <= 1, f"row fraction is {self.row_fraction}; expected a share above 0 up to 1"),
            (
                self.reclassify in ("prompt", "never"),
                f"reclassify is {self.reclassify!r}; expected 'prompt' or 'never'",
            ),
            (
                are_forced_roles(self.forced_roles),
                f"forced roles are {self.forced_roles!r}; expected (layer, head, role), sorted, each head once",
            ),
        )
        for valid, message in checks:
            if not valid:
                raise DummyForcingError(message)

    @property
    def keeps_all(self) -> bool:
        return self.local_context is None

    def begin(self, shape: KeepShape) -> DummyForcingRun:
        return DummyForcingRun(self, shape)

    def costliest(self, shape: KeepShape) -> DummyForcing:
        """Every head that is no dummy taken for a neighbor head, the role that holds the most frames."""
        if self.roles is not None:
            return self
        all_neighbors = torch.tensor([0.0, 1.0, 0.0]).expand(shape.layers, shape.heads, 3)
        roles = program_heads(all_neighbors, self.dummy_ratio, forced=self.forced_roles)
        chunk = DummyForcingRun(self, shape).due_chunk
        return replace(self, roles=tuple(map(tuple, roles.tolist())), classification_chunk=chunk)


class DummyForcingRun:
    """Dense until classification, then one allocation by role."""

    def __init__(self, config: DummyForcing, shape: KeepShape, kept: Roles | None = None):
        """kept: roles from before the memory started over; they hold as soon as all of the context is there.

        Raises DummyForcingError where given roles or forced ones do not fit the model.
        """
        check_forced_roles(config.forced_roles, shape.layers, shape.heads)
        self.config = config
        self.shape = shape
        self.roles: Tensor | None = None
        self.masses: Tensor | None = None
        self.observers: Sequence[Any] = ()
        self._known = config.roles if kept is None else kept
        self.due_chunk = self._due_chunk(0 if kept is not None else config.classification_chunk)
        if self._known is None:
            self._recorder = MassRecorder(
                shape.layers, row_fraction=config.row_fraction, seed=config.seed, wants=self._is_scored
            )
            self.observers = (self._recorder,)
        else:
            self._given = force_roles(_check_roles(self._known, shape), config.forced_roles)

    def start(self) -> list[Allocation]:
        dense = (StoreHeads(tuple(range(self.shape.heads)), Retention(last=None)),)
        return [dense] * self.shape.layers

    def frames_before_regroup(self, total_frames: int | None) -> int | None:
        if self.roles is not None:
            return total_frames
        warm_up = self.shape.start_frame(self.due_chunk + 1)
        return warm_up if total_frames is None else min(warm_up, total_frames)

    def after_commit(self, clock: ChunkClock) -> list[Allocation] | None:
        if self.roles is not None or clock.memory_chunk < self.due_chunk:
            return None
        if self._known is not None:
            self.roles = self._given
        else:
            self.masses = self._recorder.masses(clock.chunk, clock.pass_index).mean(0)
            self._recorder.clear()
            config = self.config
            self.roles = program_heads(self.masses, config.dummy_ratio, config.cost, config.forced_roles)
            self._known = tuple(map(tuple, self.roles.tolist()))
        return [self._allocate(row.tolist()) for row in self.roles]

    def again(self, shape: KeepShape, new_prompt: bool) -> DummyForcingRun:
        measures = self.config.roles is None and new_prompt and self.config.reclassify == "prompt"
        return DummyForcingRun(self.config, shape, None if measures else self._known)

    def _is_scored(self, clock: ChunkClock) -> bool:
        return clock.clean and self.roles is None and clock.memory_chunk == self.due_chunk

    def _due_chunk(self, chunk: int) -> int:
        """The chunk after which roles take effect, as the memory counts; not before `chunk`."""
        first = self.shape.first_chunk
        if self._known is not None:
            return max(chunk, first - 1)  # not before all of the context is there
        chunk = max(chunk, first)
        while self.shape.start_frame(chunk) < _LEAST_HISTORY:
            chunk += 1
        return chunk

    def _allocate(self, roles: list[int]) -> Allocation:
        config = self.config
        whole = Retention(last=None)
        local = None if config.local_context is None else config.local_context * self.shape.chunk_frames
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


def _check_roles(roles: Roles, shape: KeepShape) -> Tensor:
    widths = {len(row) for row in roles}
    if len(roles) != shape.layers or widths != {shape.heads}:
        found = f"{len(roles)} x {'/'.join(map(str, sorted(widths)))}"
        raise DummyForcingError(
            f"the head profile has {found} roles but the model has "
            f"{shape.layers} layers x {shape.heads} heads; profile this model with `dummy-forcing profile`"
        )
    unknown = {role for row in roles for role in row} - set(HeadRole)
    if unknown:
        raise DummyForcingError(
            f"the head profile has roles {sorted(unknown, key=str)}; expected 0 (sink), 1 (neighbor) or 2 (dummy); "
            "profile this model with `dummy-forcing profile`"
        )
    return torch.tensor(roles, dtype=torch.int64)
