"""Clips that are read frame by frame, so that their length does not count: files, and pictures in memory."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import zip_longest
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .formats import import_av
from .frames import check_frames, resize, to_bytes

MOST_FRAMES = 16
MOST_BYTES = 64 * 2**20
"""A piece of `Pairs` has at most so many frames, and bytes if it has more than one frame."""


class Clip(Protocol):
    """Frames of one size; iterating gives each as uint8 [height, width, 3], from the first on every time.

    `frame_rate` is None where there is none, `frames` where counting would mean to decode them.
    """

    width: int
    height: int
    frame_rate: Fraction | None
    frames: int | None

    def __iter__(self) -> Iterator[Tensor]: ...


class PictureClip:
    """Pictures [frames, height, width, 3], float in [0, 1] or uint8."""

    def __init__(self, pictures: Tensor, frame_rate: Fraction | None = None):
        check_frames(pictures)
        if not len(pictures):
            raise DummyForcingError("there are no frames; connect a video or an image that has some")
        self._pictures = pictures
        self.frames, self.height, self.width = pictures.shape[:3]
        self.frame_rate = frame_rate

    def __iter__(self) -> Iterator[Tensor]:
        return (to_bytes(picture[None])[0] for picture in self._pictures)


class FileClip:
    """A video file, whole or from `start` on for `duration`, both in seconds; a duration of 0 is up to the end.

    Args:
        source: a path or the file's bytes.

    Raises:
        DummyForcingError: no such file, or no video in it; from the iterator for one that is damaged later on.
    """

    def __init__(self, source: str | os.PathLike[str] | io.BytesIO, start: float = 0.0, duration: float = 0.0):
        self._source, self._start, self._duration = source, start, duration
        self._name = "the video in memory" if isinstance(source, io.BytesIO) else f"the video {source}"
        with self._opened() as (_, stream):
            self.width, self.height = stream.width, stream.height
            rate = stream.guessed_rate or stream.average_rate
            self.frame_rate = Fraction(rate) if rate else None
            self.frames = stream.frames if stream.frames and not (start or duration) else None
        first = next(iter(self), None)  # a rotated one has another size than the stream says
        if first is None:
            raise DummyForcingError(f"{self._name} holds no frames; choose another file or another part of it")
        self.height, self.width = first.shape[:2]

    def __iter__(self) -> Iterator[Tensor]:
        with self._opened() as (container, stream):
            begin = int(self._start / stream.time_base)
            end = int((self._start + self._duration) / stream.time_base) if self._duration else None
            if begin:
                container.seek(begin, stream=stream)
            for frame in container.decode(stream):
                if begin and frame.pts < begin:
                    continue
                if end is not None and frame.pts >= end:
                    return
                yield _pixels(frame, stream.width, stream.height)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        av = import_av()
        # A reader of its own: of two that share a place in the bytes, both would read nonsense.
        given = self._source
        source = io.BytesIO(given.getvalue()) if isinstance(given, io.BytesIO) else str(given)
        try:
            with av.open(source) as container:
                stream = next(iter(container.streams.video), None)
                if stream is None:
                    raise DummyForcingError(f"{self._name} holds no video; choose another file")
                stream.thread_type = "AUTO"
                yield container, stream
        except (OSError, av.error.FFmpegError) as error:
            raise DummyForcingError(f"cannot read {self._name}: {error}; check the path and the file") from error


class Pairs:
    """Frames of two clips side by side, as far as both go, in pieces of bounded size; b is scaled to a's size.

    Iterating gives (a, b), uint8 [T, H, W, 3] each. After that `goes_on` names the clip that is longer, if one is.
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


def _pixels(frame: Any, width: int, height: int) -> Tensor:
    pixels = torch.from_numpy(frame.reformat(width=width, height=height, format="rgb24").to_ndarray())
    turns = round(getattr(frame, "rotation", 0) / 90)  # PyAV before 14.1 does not know
    return torch.rot90(pixels, turns).contiguous() if turns % 4 else pixels
