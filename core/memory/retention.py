"""Which latent frames a head keeps, as arithmetic on frame numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Retention:
    """Keep the `first` frames of the video and the `last` ones before the current chunk.

    Attributes:
        first: number of opening frames kept for ever (the sink).
        last: number of most recent frames kept; None keeps them all.
        begin: frames before this one are not counted among the recent ones. Neighbor heads use 1: in the Dummy
            Forcing authors' code frame 0 lives in the sink heads only.

    Slots: opening frames take slots 0 .. first - 1, recent ones a ring behind them, so a frame's slot follows from
    its number and occupied slots always form a prefix. Attention does not care about the order of its keys.
    """

    first: int = 0
    last: int | None = None
    begin: int = 0

    @property
    def _ring_begin(self) -> int:
        return max(self.first, self.begin)

    def held(self, frames: int) -> int:
        """Frames kept once `frames` frames have been committed."""
        recent = max(0, frames - self._ring_begin)
        return min(frames, self.first) + (recent if self.last is None else min(recent, self.last))

    def keeps(self, frame: int, frames: int) -> bool:
        """Whether `frame` is kept once `frames` frames have been committed."""
        if frame < self.first:
            return True
        return frame >= self._ring_begin and (self.last is None or frame >= frames - self.last)

    def slot(self, frame: int) -> int:
        """The slot of a kept frame."""
        if frame < self.first:
            return frame
        offset = frame - self._ring_begin
        return self.first + (offset if self.last is None else offset % self.last)

    def kept(self, frames: int) -> list[int]:
        """All frames kept once `frames` have been committed, in slot order."""
        opening = range(min(frames, self.first))
        start = self._ring_begin if self.last is None else max(self._ring_begin, frames - self.last)
        return sorted((*opening, *range(start, frames)), key=self.slot)
