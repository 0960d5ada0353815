"""AnnSA at work on one video, and on each of its stores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ....kernels import DenseAttention, HostCopy, attend
from ...clock import ChunkClock
from ...memory.retention import Retention, StoreHeads
from ...memory.select_report import SelectCount, SelectReport
from ...memory.store import KVView
from ...video import VideoShape
from . import AnnSA
from .search import Search
from .sorted_history import BucketRead, SortedPast, history_keys


class AnnSARun:
    """AnnSA at work on one video."""

    def __init__(self, config: AnnSA, video: VideoShape):
        self.config = config
        self._tokens = video.tokens_per_frame
        self._counts = [SelectCount() for _ in range(video.layers)]

    def selection(self, layer: int, members: tuple[StoreHeads, ...], slots: int | None) -> AnnSelection:
        """For a new store."""
        heads = tuple(head for member in members for head in member.heads)
        return AnnSelection(self.config, heads, self.config.min_frames * self._tokens, self._counts[layer])

    def share(self, retention: Retention, clock: ChunkClock) -> float | None:
        """None wherever there is something to search, since it then depends on the keys."""
        config = self.config
        dense = not config.sparse_clean if clock.clean else clock.pass_index < config.dense_passes
        short = retention.held(clock.memory_frame) < config.min_frames
        return 1.0 if dense or short else None

    def report(self) -> SelectReport:
        """What has been read so far."""
        return SelectReport.of(self._counts)


class AnnSelection:
    """AnnSA on one store."""

    def __init__(self, config: AnnSA, heads: tuple[int, ...], least_keys: int, count: SelectCount):
        """least_keys: how many keys a history must have to be searched."""
        self._config, self._heads, self._least, self._count = config, heads, least_keys, count
        self._known: tuple[Any, ...] | None = None  # of which history the sorted one is
        self._past: list[SortedPast] = []
        self._recall: HostCopy | None = None
        self._measured_at = 0.0  # keys of the history when recall was measured

    @property
    def bytes(self) -> int:
        """The order of the history, about 4 bytes a key and head."""
        return sum(past.bytes for past in self._past)

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: DenseAttention) -> Tensor:
        """Attention over the keys found; see `Selection.attend`."""
        keys = history_keys(view)
        measures = clock.clean and keys >= self._least and keys >= 2 * self._measured_at
        sparse = keys >= self._least and self._is_sparse(clock)
        if not sparse and not measures:
            return self._attend_all(q, view, dense)
        search, recalls, out = self._config.method, [], []
        for item, past in enumerate(self._sorted(view, search)):
            read = BucketRead.of(q[item], view, item, past, search, self._config.block, self._heads)
            if measures:
                recalls.append(read.recall)
            if sparse:
                self._count.add(read.pairs, q.shape[1] * view.plan.keys_read)
                out.append(read.attend(dense))
        if measures:
            self._keep_recall(torch.stack(recalls).mean(), keys)
        return torch.stack(out) if sparse else self._attend_all(q, view, dense)

    def _attend_all(self, q: Tensor, view: KVView, dense: DenseAttention) -> Tensor:
        held = q.shape[0] * q.shape[1] * view.plan.keys_read
        self._count.add(held, held)
        return attend(q, view.k, view.v, view.plan, dense)

    def _is_sparse(self, clock: ChunkClock) -> bool:
        config = self._config
        if not config.sparse_clean if clock.clean else clock.pass_index < config.dense_passes:
            return False
        if not config.min_recall or self._recall is None:
            return not config.min_recall
        return self._recall.read() >= config.min_recall  # of an earlier chunk: there is little to wait for

    def _keep_recall(self, recall: Tensor, keys: float) -> None:
        """Note the recall, and how many keys the history had when it was measured."""
        if self._recall is None:
            self._recall = self._count.recalls[self._heads] = HostCopy(recall)
        self._recall.send(recall)
        self._measured_at = keys

    def _sorted(self, view: KVView, search: Search) -> list[SortedPast]:
        """The history by bucket, once for all passes of a chunk."""
        if self._known != (view.version, view.plan.ranges):
            self._past = []  # frees the old one first
            self._past = [SortedPast.of(view, item, search, self._heads) for item in range(view.k.shape[0])]
            self._known = view.version, view.plan.ranges
        return self._past

    def free(self) -> None:
        """Free the order."""
        self._past, self._known = [], None
        self._count.recalls.pop(self._heads, None)
