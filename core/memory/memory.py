"""The mutable run state of one video: per layer a few head groups, each with a store and a read plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ...kernels import DenseAttention, HeadTarget, NormRope, attend_densely, place_heads, put_heads
from ..clock import ChunkClock
from ..errors import DummyForcingError
from ..video import VideoShape
from .keep import Allocation, KeepRun
from .merge import KVStore, MergeRun
from .retention import StoreHeads
from .select import CrossRun, Selection, SelectRun
from .select_report import SelectReport
from .store import KVView


class AttentionObserver(Protocol):
    """Looks at queries and at the keys they are about to read; never changes anything."""

    def wants(self, clock: ChunkClock) -> bool: ...

    def observe(self, layer: int, q: Tensor, k: Tensor, key_frames: Sequence[int], clock: ChunkClock) -> None: ...


@dataclass(frozen=True)
class MemoryStatus:
    """What a memory holds at one moment.

    bytes: allocated for keys and values, over all layers. history_frames: latent frames of history that a head
    holds, mean over layers and heads. roles: head roles [layers, heads] once a policy has assigned them. masses:
    attention masses [layers, heads, 3] that the roles follow from, if they were measured. selected: what a select
    method that depends on the keys has read.
    """

    bytes: int
    history_frames: float
    roles: Tensor | None
    masses: Tensor | None
    selected: SelectReport | None = None


@dataclass(frozen=True)
class Cut:
    """The frames of a video that are still there: the first `opening` ones and those from frame `begin` on."""

    opening: int
    begin: int


@dataclass(frozen=True, eq=False)
class HeadGroup:
    """Heads of a layer that share a store, and how they read it."""

    store: KVStore
    selection: Selection

    @property
    def bytes(self) -> int:
        return self.store.bytes + self.selection.bytes

    def free(self) -> None:
        self.store.free()
        self.selection.free()


class Memory:
    """Keys and values of a running video.

    Passes call `attend`; the loop calls `commit` after the clean pass. Between commits history never changes.
    Between chunks the loop may `rewind`, `forget` or `restart`.
    """

    def __init__(
        self,
        video: VideoShape,
        keep: KeepRun,
        merge: MergeRun,
        select: Callable[[VideoShape], SelectRun],
        cross: CrossRun,
        observers: Sequence[AttentionObserver] = (),
    ):
        """select: begins a run of the select method; called again whenever the memory starts over."""
        self.video = video
        self._keep = keep
        self._merge = merge
        self._begin_select = select
        self._cross = cross
        self._given_observers = observers
        self._layers: list[list[HeadGroup]] = []
        self._start(cut=None)

    def restart(
        self, first_chunk: int, first_frames: int | None = None, *, new_prompt: bool = False, cut: Cut | None = None
    ) -> None:
        """Forget everything: the next frame committed is the first.

        Args:
            first_chunk: the first chunk that will be generated, as the memory counts; those before it are context.
            first_frames: frames of chunk 0 where it differs from the others.
            new_prompt: the prompt has changed, which may be a reason to measure heads again.
            cut: which frames will be committed; None for all of them.
        """
        self._free()
        video = replace(self._keep.video, first_chunk=first_chunk, first_frames=first_frames)
        self._keep = self._keep.restarted(video, new_prompt)
        self._start(cut)

    def _start(self, cut: Cut | None) -> None:
        self._cut = cut
        self._observers = [*self._given_observers, *self._keep.observers]
        self._select = self._begin_select(self._keep.video)
        allocations = self._keep.start()
        self._layers = [self._build(layer, self._cut_short(each)) for layer, each in enumerate(allocations)]

    @property
    def status(self) -> MemoryStatus:
        """What is held now."""
        frames = sum(store.held * len(store.heads) for store in self._stores())
        return MemoryStatus(
            bytes=sum(group.bytes for group in self._groups()) + self._merge.bytes,
            history_frames=frames / (len(self._layers) * self.video.heads) if self._layers else 0.0,
            roles=self._keep.roles,
            masses=self._keep.masses,
            selected=self._select.report(),
        )

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        clock: ChunkClock,
        norm_rope: NormRope | None = None,
        dense: DenseAttention = attend_densely,
    ) -> Tensor:
        """Write the chunk's K/V to the tails and attend; all tensors [B, L, H, D].

        Args:
            norm_rope: norm and RoPE that q and k still need; None if they have had both.
            dense: the attention function for heads that read all of a store.
        """
        groups = self._layers[layer]
        targets = [HeadTarget(group.store.heads, *group.store.tail(clock)) for group in groups]
        asked = place_heads(q, k, v, targets, norm_rope)
        if len(groups) == 1 and groups[0].store.heads == tuple(range(self.video.heads)):
            return self._read(layer, groups[0], asked[0], clock, dense)
        out = torch.empty_like(q)
        for group, queries in zip(groups, asked, strict=True):
            put_heads(out, group.store.heads, self._read(layer, group, queries, clock, dense))
        return out

    def _read(self, layer: int, group: HeadGroup, q: Tensor, clock: ChunkClock, dense: DenseAttention) -> Tensor:
        """Attention of a group's queries over its keys, the tail included."""
        view = group.store.view(clock)
        self._observe(layer, group.store, q, view, clock)
        return group.selection.attend(q, view, clock, dense)

    def attend_prompt(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: ChunkClock, dense: DenseAttention = attend_densely
    ) -> Tensor:
        """Cross-attention of a layer; see `CrossRun.attend`."""
        return self._cross.attend(layer, q, k, v, clock, dense)

    def change_prompt(self) -> None:
        """From the next pass on, keys and values come from another prompt."""
        self._cross.change_prompt()

    def commit(self, clock: ChunkClock) -> None:
        """Keep the clean pass's K/V, then let the policy reassign heads, for all layers at once."""
        for store in self._stores():
            store.commit(clock)
        allocations = self._keep.after_commit(clock)
        if allocations is not None:
            self._regroup(allocations)

    def rewind(self, cut: Cut, next_chunk: int) -> bool:
        """Go back to frame `cut.begin`, so that all frames from there on can be recomputed under another prompt.

        The opening frames of every head stay as they are. The memory starts over where that is not possible: heads
        that have been grouped may have lost frames that are needed, a cut without a gap leaves no opening frames,
        and stores made for a shorter video have no room for a longer one.

        Args:
            cut: the frames that can be committed again.
            next_chunk: the first chunk after those that are recomputed, as the memory counts.

        Returns:
            whether the memory is now empty, so that all frames of the cut have to be committed again.
        """
        outgrown = self._cut is not None and cut.begin < self._cut.begin
        if self._keep.roles is not None or cut.begin <= cut.opening or outgrown:
            gap = cut if cut.begin > cut.opening else None
            self.restart(next_chunk, self._keep.video.first_frames, new_prompt=True, cut=gap)
            return True
        for store in self._stores():
            store.rewind(cut.begin)
        return False

    def forget(self, cut: Cut) -> None:
        """Forget all frames except those of the cut and the opening frames that heads keep anyway (KV flush)."""
        opening = cut.opening if self._cut is None else min(cut.opening, self._cut.opening)
        self._cut = replace(cut, opening=opening)
        for layer, groups in enumerate(self._layers):
            self._layers[layer] = [fresh for group in groups for fresh in self._without(layer, cut, group)]

    def close(self) -> None:
        """Free every key and value; the memory cannot be used afterwards."""
        self._free()
        self._merge.close()

    def _free(self) -> None:
        for group in self._groups():
            group.free()
        self._layers = []

    def _regroup(self, allocations: Sequence[Allocation]) -> None:
        for layer, allocation in enumerate(allocations):
            (old,) = self._layers[layer]
            # frees the old store before the next layer allocates
            self._layers[layer] = self._build(layer, self._cut_short(allocation), old)

    def _without(self, layer: int, cut: Cut, old: HeadGroup) -> list[HeadGroup]:
        left = (
            replace(member, retention=member.retention.forgetting(cut.opening, cut.begin))
            for member in old.store.members
        )
        return self._build(layer, tuple(left), old)

    def _cut_short(self, allocation: Allocation) -> Allocation:
        """The allocation, adapted to a video of which only the frames of the cut are there."""
        if self._cut is None:
            return allocation
        opening, begin = self._cut.opening, self._cut.begin
        return tuple(replace(member, retention=member.retention.cut(opening, begin)) for member in allocation)

    def _build(self, layer: int, allocation: Allocation, old: HeadGroup | None = None) -> list[HeadGroup]:
        """Head groups for an allocation; they take over what `old` holds.

        Heads that hold equally many frames, now and when their stores are full, share a store.
        """
        committed = 0 if old is None else old.store.committed
        packed: dict[tuple[int, int | None], list[StoreHeads]] = {}
        for member in allocation:
            if member.heads:
                packed.setdefault((member.retention.held(committed), self._slots(member)), []).append(member)
        regroups = self._keep.frames_before_regroup(None) is not None
        scored = regroups or (bool(self._observers) and self._keep.roles is None)
        packs = [(tuple(members), slots) for (_, slots), members in packed.items()]
        stores = [self._merge.store(*pack, scored) for pack in packs]
        if old is not None:
            old.selection.free()
            for store in stores:
                store.adopt(old.store)
        selections = [self._select.selection(layer, *pack) for pack in packs]
        return [HeadGroup(*group) for group in zip(stores, selections, strict=True)]

    def _groups(self) -> Iterator[HeadGroup]:
        return (group for layer in self._layers for group in layer)

    def _stores(self) -> Iterator[KVStore]:
        return (group.store for group in self._groups())

    def _slots(self, member: StoreHeads) -> int | None:
        retention = member.retention
        limit = self._keep.frames_before_regroup(self.video.whole_frames)
        if retention.last is not None:
            bound = retention.first + retention.last
            return bound if limit is None else min(bound, retention.held(limit))
        return None if limit is None else retention.held(max(0, limit - self.video.chunk_frames))

    def _observe(self, layer: int, store: KVStore, q: Tensor, view: KVView, clock: ChunkClock) -> None:
        for observer in self._observers:
            if observer.wants(clock):
                ranges = view.plan.ranges[0]
                whole = len(ranges) == 1 and ranges[0][0] == 0
                if view.frames is None or store.heads != tuple(range(self.video.heads)) or not whole:
                    raise DummyForcingError(
                        "head scores need the whole history but heads have been grouped already; "
                        "profile under the dense memory"
                    )
                observer.observe(layer, q, view.k[:, : ranges[0][1]], view.frames, clock)
