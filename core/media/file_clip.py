"""A video file, read frame by frame and as often as wanted."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property, partial
from itertools import chain
from typing import Any

from torch import Tensor

from ..errors import DummyForcingError
from .clips import Shown
from .damage import REMEDY, decoded, is_short
from .formats import import_av
from .frame_times import mean_rate, stamped
from .pixels import pixels_of

_USUAL_RATE = Fraction(25)
"""Frames a second assumed for a file that does not say its rate, as in FFmpeg."""


class FileClip:
    """A video file from `start` on for `duration`, both in seconds; a duration of 0 means up to the end.

    Times are counted from the first frame that can be decoded, since its time stamp is not 0 in many files.
    Frames come upright and with the colours that the file specifies. `sound` is whether the file has sound.

    Args:
        source: a path or the file's bytes.

    Raises:
        DummyForcingError: no such file, or no video in it; while iterating, if it is damaged further on.
    """

    def __init__(self, source: str | os.PathLike[str] | io.BytesIO, start: float = 0.0, duration: float = 0.0):
        self._source, self._start, self._duration = source, start, duration
        self._name = "the video in memory" if isinstance(source, io.BytesIO) else f"the video {source}"
        with self._opened() as (container, stream):
            self.sound = bool(container.streams.audio)
            self.frames = stream.frames if stream.frames and not (start or duration) else None
            self._size, self._tick = (stream.width, stream.height), stream.time_base
            self._named = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
            self._first = next((frame.pts for frame in container.decode(stream)), None)
        first = next(iter(self), None)  # a rotated frame has another size than the stream says
        if first is None:
            raise DummyForcingError(
                f"{self._name} holds no frames; choose another file or another part of the video"
            )
        self.height, self.width = first.shape[:2]

    @cached_property
    def frame_rate(self) -> Fraction | None:
        """Mean frames a second of the whole file, by its time stamps if it has them, as headers often guess."""
        with self._opened() as (container, stream):
            packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_corrupt]
        stamps = [packet.pts for packet in packets if not packet.is_discard]
        if self._short or not stamps or None in stamps:  # some packets of a cut file are never decoded
            return self._named[-1] if self._named else None
        return mean_rate(stamps, self._tick, self._named)

    def __iter__(self) -> Iterator[Tensor]:
        return (shown.pixels() for shown in self.timed())

    def timed(self) -> Iterator[Shown]:
        """As `Clip.timed`."""
        end = self._ticks(self._start + self._duration) if self._duration else None
        before = first = None
        for frame, time in self._from(self._ticks(self._start)):
            if before is not None:
                yield self._shown(*before, first, time if end is None else min(time, end))
            if end is not None and time >= end:
                return
            before, first = (frame, time), time if first is None else first
        if before is not None:
            frame, time = before
            last = time + (frame.duration * self._tick if frame.duration else self._period)
            yield self._shown(frame, time, first, last if end is None else min(last, end))

    def _shown(self, frame: Any, time: Fraction, first: Fraction, end: Fraction) -> Shown:
        return Shown(time - first, end - first, partial(pixels_of, frame, *self._size))

    def _ticks(self, seconds: float) -> Fraction:
        """Seconds rounded down to whole ticks, so that 1/3 s means the frame that a file stamps with 333 ms."""
        return math.floor(Fraction(seconds) / self._tick) * self._tick

    @property
    def _period(self) -> Fraction:
        return 1 / (self._named[-1] if self._named else _USUAL_RATE)

    def _from(self, begin: Fraction) -> Iterator[tuple[Any, Fraction]]:
        """Decoded frames from `begin` on, with their times in seconds since the file's first frame."""
        with contextlib.closing(self._sought(begin) or self._decoded()) as frames:
            yield from ((frame, time) for frame, time in frames if time >= begin)

    def _sought(self, begin: Fraction) -> Iterator[tuple[Any, Fraction]] | None:
        """Decoded frames from the key frame before `begin` on; None if the file cannot be entered there."""
        if not begin or self._first is None:
            return None
        frames = self._decoded(begin)
        first = next(frames, None)
        if first is None or first[1] > begin:
            frames.close()
            return None
        return _chained(first, frames)

    def _decoded(self, begin: Fraction = Fraction(0)) -> Iterator[tuple[Any, Fraction]]:
        with self._opened() as (container, stream):
            offset = Fraction(0)
            frames = decoded(container, stream, self._name, self._short, not begin)
            if begin:
                container.seek(self._first + int(begin / self._tick), stream=stream)
                first = next(frames, None)
                if first is None or first.pts is None:
                    return
                offset = (first.pts - self._first) * self._tick
                frames = chain([first], frames)
            for frame, time in stamped(frames, self._tick, self._period):
                yield frame, offset + time

    @cached_property
    def _short(self) -> bool:
        given = self._source
        with io.BytesIO(given.getvalue()) if isinstance(given, io.BytesIO) else open(given, "rb") as file:
            return is_short(file)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        av = import_av()
        # A reader of its own: two readers that shared one position in the bytes would both read nonsense.
        given = self._source
        source = io.BytesIO(given.getvalue()) if isinstance(given, io.BytesIO) else str(given)
        try:
            with av.open(source) as container:
                stream = next(iter(container.streams.video), None)
                if stream is None and not any(each.codec_context for each in container.streams):  # no MP4 index
                    raise DummyForcingError(f"{self._name} is cut short or damaged: its index is missing; {REMEDY}")
                if stream is None:
                    raise DummyForcingError(f"{self._name} holds no video; choose another file")
                # Not thread_type "AUTO": with it PyAV 18 ends at damaged data without an error.
                yield container, stream
        except (OSError, av.error.FFmpegError) as error:
            raise DummyForcingError(f"cannot read {self._name}: {error}; check the path and the file") from error


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    """`first`, then `rest`; closing the chain closes `rest`, too."""
    with contextlib.closing(rest):
        yield first
        yield from rest
