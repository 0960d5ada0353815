"""TempCache at work on one video: which stores are merged."""

from __future__ import annotations

from ...memory.merge import KVStore
from ...memory.retention import StoreHeads
from ...memory.store import FrameStore
from ...video import VideoShape
from . import TempCache
from .correspondence import Correspondence
from .merged_store import MergedStore


class TempCacheRun:
    """Makes merged stores for heads that look back far enough, plain ones for the others."""

    bytes = 0

    def __init__(self, config: TempCache, video: VideoShape, closes_after: int | None):
        self._config, self._video, self._closes_after = config, video, closes_after
        self._matching = Correspondence(config.correspondence, config.compare, config.similarity, video.grid)

    def store(self, members: tuple[StoreHeads, ...], slots: int | None, scored: bool) -> KVStore:
        """A merged store, or a plain one if the history is needed frame by frame or is no longer than a pass.

        A merged store needs one retention for all its heads; heads with different ones get a plain store.
        """
        retentions = {member.retention for member in members}
        (last, *others) = {retention.last for retention in retentions}
        short = last is not None and last <= self._video.pass_frames
        if scored or short or others or len(retentions) > 1:
            return FrameStore(self._video, members, slots, self._closes_after)
        config = self._config
        averages = config.values == "mean"
        merging = config.budget, config.sink, self._matching, averages
        return MergedStore(self._video, members, slots, self._closes_after, *merging)

    def close(self) -> None:
        """Does nothing: the stores share no tensors."""
