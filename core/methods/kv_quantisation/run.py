"""KV quantisation at work on one video."""

from __future__ import annotations

from ...memory.retention import StoreHeads
from ...video import VideoShape
from .quantised_store import QuantisedStore, Scratch


class QuantisedRun:
    """Makes quantised stores over one scratch."""

    def __init__(self, kind: str, video: VideoShape, closes_after: int | None):
        self._kind, self._video, self._closes_after = kind, video, closes_after
        self._scratch = Scratch(video.dtype, video.device)
        self._layer: list[tuple[int, ...]] = []  # heads of the layer's stores made so far

    @property
    def bytes(self) -> int:
        return self._scratch.bytes

    def store(self, members: tuple[StoreHeads, ...], slots: int | None, scored: bool) -> QuantisedStore:
        """A quantised store; see `MergeRun`."""
        heads = tuple(head for member in members for head in member.heads)
        # stores of one layer have different heads: a head seen before belongs to another layer, or to a regrouping
        if any(set(heads).intersection(others) for others in self._layer):
            self._layer = []
        lane = len(self._layer)
        self._layer.append(heads)
        return QuantisedStore(self._video, members, slots, self._closes_after, self._kind, self._scratch, lane)

    def close(self) -> None:
        """Free the scratch."""
        self._scratch.free()
