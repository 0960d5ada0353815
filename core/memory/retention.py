"""Which latent frames a head keeps, as arithmetic on frame numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Retention:
    """Keep the `first` frames of the video and the `last` ones before the current chunk.

    Attributes:
        first: number of opening frames kept for ever (the sink).
        last: number of most recent frames kept; None keeps them all.
        begin: frames before this one never count as recent. Neighbor heads use 1: in the code of Dummy Forcing's
            authors only sink heads keep frame 0.
        view: latent frames that a query reads in total, its own pass included; None reads all that is kept.
            Rolling Forcing's joint passes are longer than its clean passes and leave less room for history.
        average: weight with which an opening frame takes in those that leave its window (Reward-Forcing's EMA
            sink): alpha * sink + (1 - alpha) * leaving. None leaves opening frames as they are.

    Slots: opening frames take slots 0 .. first - 1, recent ones a ring behind them, so a frame's slot follows from
    its number and occupied slots always form a prefix. Attention does not care about the order of its keys.
    """

    first: int = 0
    last: int | None = None
    begin: int = 0
    view: int | None = None
    average: float | None = None

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
        return sorted((*opening, *range(self.recent_begin(frames), frames)), key=self.slot)

    def recent_begin(self, frames: int) -> int:
        """The first of the recent frames kept once `frames` have been committed."""
        return self._ring_begin if self.last is None else max(self._ring_begin, frames - self.last)

    def cut(self, first: int, begin: int) -> Retention:
        """This retention in a video of which only the `first` frames and those from `begin` on exist.

        A retention of the whole history treats those first frames as its opening.
        """
        if begin <= first:
            return self
        opening = first if self.last is None else min(self.first, first)
        return replace(self, first=opening, begin=max(self.begin, begin))

    def forgetting(self, first: int, begin: int) -> Retention:
        """This retention once all frames before `begin`, except the opening ones, are forgotten."""
        gone_before = self.begin > self.first
        return self.cut(self.first if gone_before else max(self.first, first), begin)

    def rewound(self, frame: int) -> Retention:
        """This retention when the frames from `frame` on will be committed again.

        A ring may have reused the slots of earlier frames, so it forgets what it held and begins with `frame`.
        """
        if self.last is None and frame >= self._ring_begin:
            return self
        return replace(self, begin=frame)

    def reading(self, committed: int, frames: int, clean: bool) -> Reading:
        """What a pass over `frames` frames reads of the history, once `committed` frames have been committed.

        Where the view is too short for everything, the newest frames fill it. Denoising passes still read the
        opening frames then, clean passes do not (Rolling Forcing's code).
        """
        opening = min(committed, self.first)
        recent = self.held(committed) - opening
        if self.view is None:
            return Reading(opening, recent, ((0, opening + recent),))
        room = max(0, self.view - frames)
        recent = min(recent, room if clean else max(0, room - opening))
        opening = min(opening, room - recent)
        sink = range(min(committed, self.first) - opening, min(committed, self.first))
        newest = (self.slot(frame) for frame in range(committed - recent, committed))
        return Reading(opening, recent, _runs([*sink, *sorted(newest)]))


@dataclass(frozen=True)
class StoreHeads:
    """Heads of a layer that follow one retention, in the order in which a store holds them."""

    heads: tuple[int, ...]
    retention: Retention


@dataclass(frozen=True)
class Reading:
    """History frames that one pass reads.

    opening, recent: how many of them are opening frames and recent ones. slots: half-open ranges of their slots.
    """

    opening: int
    recent: int
    slots: tuple[tuple[int, int], ...]


def _runs(slots: list[int]) -> tuple[tuple[int, int], ...]:
    """Sorted numbers as half-open ranges."""
    runs: list[tuple[int, int]] = []
    for slot in slots:
        if runs and runs[-1][1] == slot:
            runs[-1] = (runs[-1][0], slot + 1)
        else:
            runs.append((slot, slot + 1))
    return tuple(runs)
