"""Clips read frame by frame, so that they may have any length; file_clip.py has those in files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import zip_longest
from typing import Protocol

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .frames import check_frames, resize, to_bytes

_HALF = Fraction(1, 2)
MOST_FRAMES = 16
MOST_BYTES = 64 * 2**20
"""Limits of a piece of `Pairs`; a single frame may have more bytes."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame and when it is on the screen: from `time` to `end`, in seconds since the clip's first frame.

    `pixels` converts it to uint8 [height, width, 3]; a caller that skips the frame need not call it.
    """

    time: Fraction
    end: Fraction
    pixels: Callable[[], Tensor]


class Clip(Protocol):
    """Frames of one size. Every iteration starts at the first frame and gives uint8 [height, width, 3] for each.

    `frame_rate` is the mean in frames a second, None if the clip has none. `frames` is their number, None where
    counting would mean decoding them. `sound` is whether the clip has sound.
    """

    width: int
    height: int
    frame_rate: Fraction | None
    frames: int | None
    sound: bool

    def __iter__(self) -> Iterator[Tensor]: ...

    def timed(self) -> Iterator[Shown]:
        """The same frames with their times; only for clips with a frame rate."""


class PictureClip:
    """Pictures [frames, height, width, 3], float in [0, 1] or uint8."""

    def __init__(self, pictures: Tensor, frame_rate: Fraction | None = None, sound: bool = False):
        if pictures.ndim and not len(pictures):
            raise DummyForcingError("there are no frames; connect a video or an image that has some")
        check_frames(pictures)
        self._pictures = pictures
        self.frames, self.height, self.width = pictures.shape[:3]
        self.frame_rate, self.sound = frame_rate, sound

    def __iter__(self) -> Iterator[Tensor]:
        return (to_bytes(picture[None])[0] for picture in self._pictures)

    def timed(self) -> Iterator[Shown]:
        """As `Clip.timed`."""
        for index, picture in enumerate(self._pictures):
            pixels = partial(lambda each: to_bytes(each[None])[0], picture)
            yield Shown(index / self.frame_rate, (index + 1) / self.frame_rate, pixels)


class AtRate:
    """A clip at another frame rate: each new frame is what the clip shows halfway through the new frame's time.

    So the clip keeps its speed, and its length to within half a frame, whether its own rate is constant or
    variable. A clip that has the rate already stays as it is, however its time stamps were rounded. At least one
    frame comes out.

    `changed` is whether any frame so far was repeated or left out.
    """

    def __init__(self, clip: Clip, frame_rate: Fraction):
        self._clip, self.frame_rate = clip, frame_rate
        self.width, self.height, self.sound = clip.width, clip.height, clip.sound
        self.frames, self.changed = None, False

    def __iter__(self) -> Iterator[Tensor]:
        return (shown.pixels() for shown in self.timed())

    def timed(self) -> Iterator[Shown]:
        """As `Clip.timed`."""
        made, shown = 0, None
        for shown in self._clip.timed():
            pixels, before = cache(shown.pixels), made
            while made + _HALF < shown.end * self.frame_rate:
                self.changed |= made > before
                yield self._frame(made, pixels)
                made += 1
            self.changed |= made == before
        if shown is not None and not made:
            yield self._frame(0, shown.pixels)

    def _frame(self, index: int, pixels: Callable[[], Tensor]) -> Shown:
        return Shown(index / self.frame_rate, (index + 1) / self.frame_rate, pixels)


class Pairs:
    """Frames of two clips in step until one of them ends, in pieces of bounded size; b is scaled to a's size.

    Iterating gives (a, b), uint8 [T, H, W, 3] each. After that `goes_on` names the longer clip, if one is longer.
    """

    def __init__(self, a: Clip, b: Clip):
        self._a, self._b = a, b
        self.piece_frames = max(1, min(MOST_FRAMES, MOST_BYTES // (2 * a.height * a.width * 3)))
        self.goes_on: str | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        frames: tuple[list[Tensor], list[Tensor]] = ([], [])
        with contextlib.closing(_each(self._a)) as a, contextlib.closing(_each(self._b)) as b:
            for one, other in zip_longest(a, b):
                if one is None or other is None:
                    self.goes_on = "b" if one is None else "a"
                    break
                frames[0].append(one)
                frames[1].append(resize(other[None], self._a.height, self._a.width)[0])
                if len(frames[0]) == self.piece_frames:
                    yield torch.stack(frames[0]), torch.stack(frames[1])
                    frames = ([], [])
        if frames[0]:
            yield torch.stack(frames[0]), torch.stack(frames[1])


def _each(clip: Clip) -> Iterator[Tensor]:
    yield from clip
