"""The mutable run state of one video: per layer a few head groups, each with a store and a read plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...kernels import Dense, ReadPlan, attend, attend_densely
from ..errors import DummyForcingError
from .clock import ChunkClock
from .keep import Allocation, KeepRun
from .store import FrameStore, StoreHeads, StoreLayout


class AttentionObserver(Protocol):
    """Looks at queries and at the keys they are about to read; never changes anything."""

    def wants(self, clock: ChunkClock) -> bool: ...

    def observe(self, layer: int, q: Tensor, k: Tensor, key_frames: Sequence[int], clock: ChunkClock) -> None: ...


@dataclass(frozen=True)
class MemoryStatus:
    """What a memory holds at one moment.

    bytes: of keys and values allocated, over all layers. history_frames: latent frames of history held by a head,
    mean over layers and heads. roles: head roles [layers, heads] once a policy has assigned them. masses: attention
    masses [layers, heads, 3] that the roles follow from, if they were measured.
    """

    bytes: int
    history_frames: float
    roles: Tensor | None
    masses: Tensor | None


class Memory:
    """Keys and values of a running video under one keep policy.

    Passes call `attend`; the loop calls `commit` after the clean pass. Between commits history never changes.
    """

    def __init__(
        self,
        heads: int,
        layout: StoreLayout,
        keep: KeepRun,
        total_frames: int | None,
        observers: Sequence[AttentionObserver] = (),
        dense: Dense = attend_densely,
    ):
        self.layout = layout
        self.heads = heads
        self._dense = dense
        self._keep = keep
        self._total_frames = total_frames
        self._observers = [*observers, *keep.observers]
        self._layers = [self._build(allocation) for allocation in keep.start()]

    @property
    def status(self) -> MemoryStatus:
        """What is held now."""
        stores = [store for layer in self._layers for store in layer]
        frames = sum(store.held * len(store.heads) for store in stores)
        return MemoryStatus(
            bytes=sum(store.bytes for store in stores),
            history_frames=frames / (len(self._layers) * self.heads) if self._layers else 0.0,
            roles=self._keep.roles,
            masses=self._keep.masses,
        )

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: ChunkClock) -> Tensor:
        """Write the chunk's K/V to the tails and attend; all tensors [B, L, H, D], k and q roped."""
        stores = self._layers[layer]
        if len(stores) == 1 and stores[0].heads == tuple(range(self.heads)):
            return self._attend_store(layer, stores[0], q, k, v, clock)
        out = torch.empty_like(q)
        for store in stores:
            heads = list(store.heads)
            out[:, :, heads] = self._attend_store(
                layer, store, q[:, :, heads], k[:, :, heads], v[:, :, heads], clock
            )
        return out

    def _attend_store(
        self, layer: int, store: FrameStore, q: Tensor, k: Tensor, v: Tensor, clock: ChunkClock
    ) -> Tensor:
        readable = store.write(k, v)
        self._observe(layer, store, q, readable, clock)
        return attend(q, store.k, store.v, ReadPlan.prefix(len(store.heads), readable), self._dense)

    def commit(self, clock: ChunkClock) -> None:
        """Keep the clean pass's K/V, then let the policy reassign heads, for all layers at once."""
        for stores in self._layers:
            for store in stores:
                store.commit(clock.frames)
        allocations = self._keep.after_commit(clock)
        if allocations is not None:
            self._regroup(allocations)

    def close(self) -> None:
        """Free every key and value; the memory cannot be used afterwards."""
        for stores in self._layers:
            for store in stores:
                store.free()
        self._layers = []

    def _regroup(self, allocations: Sequence[Allocation]) -> None:
        for layer, allocation in enumerate(allocations):
            (old,) = self._layers[layer]
            fresh = self._build(allocation, old.committed)
            for store in fresh:
                store.adopt(old)
            self._layers[layer] = fresh  # frees the old store before the next layer allocates

    def _build(self, allocation: Allocation, committed: int = 0) -> list[FrameStore]:
        """One store for all heads that hold equally many frames now and in the end."""
        packed: dict[tuple[int, int | None], list[StoreHeads]] = {}
        for member in allocation:
            if member.heads:
                packed.setdefault((member.retention.held(committed), self._slots(member)), []).append(member)
        return [FrameStore(self.layout, tuple(members), slots) for (_, slots), members in packed.items()]

    def _slots(self, member: StoreHeads) -> int | None:
        retention = member.retention
        limit = self._keep.frames_before_regroup(self._total_frames)
        if retention.last is not None:
            bound = retention.first + retention.last
            return bound if limit is None else min(bound, retention.held(limit))
        return None if limit is None else retention.held(max(0, limit - self.layout.chunk_frames))

    def _observe(self, layer: int, store: FrameStore, q: Tensor, readable: int, clock: ChunkClock) -> None:
        for observer in self._observers:
            if observer.wants(clock):
                if len(store.members) > 1 or len(store.heads) < self.heads:
                    raise DummyForcingError(
                        "head scores need the whole history but heads have been grouped already; "
                        "profile under the Dense memory"
                    )
                frames = store.key_frames(clock.start_frame, clock.frames)
                observer.observe(layer, q, store.k[:, :readable], frames, clock)
