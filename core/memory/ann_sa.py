"""AnnSA: a query reads the keys of the history that an approximate search finds for it (FAST-AR, arXiv 2602.01801).

Once per chunk the keys of a head's history are put into buckets; in every pass queries that want the same buckets
are put side by side, and a block of them reads these buckets and all of the current chunk. Keys and queries are
searched as attention sees them, roped.

What is dense: short histories, the first passes of a chunk, its clean pass, and layers in which the keys found have
too little of the attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ...kernels import Dense, attend
from ..errors import DummyForcingError
from .ann_past import BucketRead, SortedPast, history_keys
from .ann_search import QuantisedCells, Search, SignHash
from .clock import ChunkClock
from .dummy_forcing import DummyForcing
from .host_copy import HostCopy
from .keep import KeepPolicy
from .retention import Retention
from .select import SelectReport, SelectShape
from .select_report import SelectCount
from .store import StoreHeads
from .view import KVView
from .window import RollingWindow, Window

Searching = Literal["quant", "lsh"]
_CHUNK = 3  # latent frames of a chunk in most families
_MOST_BITS = 10


@dataclass(frozen=True)
class AnnSA:
    """Approximate search over the history.

    Attributes:
        search: "quant" puts keys to the nearest of 8-bit centroids, "lsh" hashes them by the signs of random
            projections.
        bits: the history is put into 2^bits buckets.
        share: quant: share of the buckets that a block of queries visits; 1 reads everything.
        radius: lsh: a query visits buckets whose signs differ from its own in so many places at most; `bits` reads
            everything.
        block: queries that read the same keys.
        min_frames: latent frames of history below which everything is read.
        dense_passes: denoising passes at the beginning of a chunk that read everything.
        sparse_clean: whether the clean pass, whose keys and values are kept, is searched too.
        min_recall: layers in which the keys found have less than this share of the attention read everything. It is
            measured in the clean pass of the first chunk with enough history, up to which all is dense, and again
            whenever the history has doubled. 0 switches no layer off, and does not wait.
        seed: of the projections.
    """

    search: Searching = "quant"
    bits: int = 6
    share: float = 0.25
    radius: int = 1
    block: int = 128
    min_frames: int = 9
    dense_passes: int = 1
    sparse_clean: bool = False
    min_recall: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        kinds = " or ".join(map(repr, get_args(Searching)))
        checks = (
            (self.search in get_args(Searching), f"ANN search is {self.search!r}; expected {kinds}"),
            (1 <= self.bits <= _MOST_BITS, f"bits of an ANN search is {self.bits}; expected 1 to {_MOST_BITS}"),
            (0 < self.share <= 1, f"share of buckets is {self.share}; expected above 0 up to 1"),
            (self.radius >= 0, f"radius of a hash is {self.radius}; expected 0 or more"),
            (self.block >= 1, f"blocks of {self.block} queries; expected at least 1 (64 or 128)"),
            (self.min_frames >= 1, f"least history is {self.min_frames} latent frames; expected at least 1"),
            (self.dense_passes >= 0, f"dense passes is {self.dense_passes}; expected 0 or more"),
            (0 <= self.min_recall <= 1, f"least recall is {self.min_recall}; expected a share between 0 and 1"),
        )
        for valid, message in checks:
            if not valid:
                raise DummyForcingError(message)

    def check(self, config: Any) -> None:
        """Raises DummyForcingError where no head ever has a history that would be searched."""
        most = _longest_history(config.keep)
        if most is not None and most < self.min_frames:
            raise DummyForcingError(
                f"ANN attention searches histories of {self.min_frames} latent frames or more, but heads hold "
                f"{most} at most here; give them a longer window or local context, lower the least history, or "
                "remove ANN attention"
            )

    def begin(self, shape: SelectShape) -> AnnSARun:
        return AnnSARun(self, shape)

    @property
    def method(self) -> Search:
        """The search."""
        if self.search == "lsh":
            return SignHash(self.bits, self.radius, self.seed)
        return QuantisedCells(self.bits, self.share)


class AnnSARun:
    """AnnSA at work on one video."""

    def __init__(self, config: AnnSA, shape: SelectShape):
        self.config = config
        self._tokens = shape.layout.tokens_per_frame
        self._counts = [SelectCount() for _ in range(shape.keep.layers)]

    def selection(self, layer: int, members: tuple[StoreHeads, ...], slots: int | None) -> AnnSelection:
        """For a new store."""
        heads = tuple(head for member in members for head in member.heads)
        return AnnSelection(self.config, heads, self.config.min_frames * self._tokens, self._counts[layer])

    def share(self, retention: Retention, clock: ChunkClock) -> float | None:
        """Depends on keys wherever there is something to search."""
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
        """least_keys: of a history that is searched."""
        self._config, self._heads, self._least, self._count = config, heads, least_keys, count
        self._known: tuple[Any, ...] | None = None  # of which history the sorted one is
        self._past: list[SortedPast] = []
        self._recall: HostCopy | None = None
        self._measured_at = 0.0  # keys of the history when recall was measured

    @property
    def bytes(self) -> int:
        """The order of the history, about 4 bytes a key and head."""
        return sum(past.bytes for past in self._past)

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: Dense) -> Tensor:
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

    def _attend_all(self, q: Tensor, view: KVView, dense: Dense) -> Tensor:
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
        """Note what was found, and at how many keys of history."""
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
        """Let go of the order."""
        self._past, self._known = [], None
        self._count.recalls.pop(self._heads, None)


def _longest_history(keep: KeepPolicy) -> int | None:
    """Latent frames that some head may hold; None without a limit."""
    if isinstance(keep, Window | RollingWindow):
        return keep.size - 1
    if isinstance(keep, DummyForcing) and keep.local_context is not None:
        return keep.local_context * _CHUNK
    return None
