"""Pictures and videos that a video begins with or is made from: how they are read, and words for what is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..free_memory import free_bytes
from ..stream.lengths import Counted, count_frames
from ..stream.tally import format_bytes
from .clips import AtRate, Clip, Shown
from .file_clip import FileClip
from .pictures import open_picture

LONGEST_SHOWN = 30
"""Seconds that a frame may stay; anything longer is a gap in the time stamps that repeats would have to fill."""

_LOOKS = 16  # frames between two looks at the free memory


@dataclass(frozen=True)
class Reading:
    """How a clip was read.

    Attributes:
        given_frames: frames of the clip, as far as it was read.
        given_rate: its mean frames a second; None if it has none.
        frames: frames that were made from them.
        rate: frames a second of the frames made; None where every frame was taken once.
        sound: whether the clip has sound, which is left out.
        more: whether the clip goes on after these frames.
    """

    given_frames: int
    given_rate: Fraction | None
    frames: int
    rate: Fraction | None
    sound: bool
    more: bool = False

    @classmethod
    def whole(cls, clip: Clip, frames: int) -> Reading:
        """The reading of a clip whose frames were all taken as they are."""
        return cls(frames, clip.frame_rate, frames, None, clip.sound)

    def lost(self, used: int, keep: str) -> list[str]:
        """What of the clip is left out or changed, in plain words; empty if nothing is.

        used: how many frames, from the first on, go into the video. keep: the option that keeps all frames.
        """
        found = []
        if self.rate is not None and (self.rate, self.frames) != (self.given_rate, self.given_frames):
            given, made = (f"{float(rate):.4g} a second" for rate in (self.given_rate, self.rate))
            first = "the first " if self.more else ""
            was = "was" if self.given_frames == 1 else "were"
            found.append(
                f"{first}{count_frames(self.given_frames)} at {given} {was} read as "
                f"{self.frames} at {made}, which keeps the speed; {keep} takes them one by one"
            )
        if self.more:
            found.append(f"what comes after its first {count_frames(used)} is left out")
        elif used < self.frames:
            found.append(f"{count_frames(self.frames - used)} at the end are left out")
        if self.sound:
            found.append("its sound is left out")
        return found

    def counted(self, keep: str) -> Counted:
        """Its frames, for messages about a length; keep as in `lost`."""
        if self.rate is None:
            return Counted(count_frames(self.frames), 0, keep)
        given, made = (f"{float(rate):.4g} a second" for rate in (self.given_rate, self.rate))
        are = "is" if self.given_frames == 1 else "are"
        words = f"{count_frames(self.given_frames)} at {given}, which {are} {self.frames} at {made}"
        return Counted(words, self.given_frames, keep)

    def to_dict(self) -> dict[str, Any]:
        """For a report."""
        return {
            "frames": self.frames,
            "given_frames": self.given_frames,
            "given_frame_rate": None if self.given_rate is None else float(self.given_rate),
            "sound_left_out": self.sound,
        }


def open_media(path: Path) -> Clip:
    """A picture or video file; DummyForcingError where it is neither."""
    return open_picture(path) or FileClip(path)


def read_clip(clip: Clip, frame_rate: float | None, keep: str, most: int | None = None) -> tuple[Tensor, Reading]:
    """Read a clip at a frame rate, by its time stamps, and no further than it is used.

    Args:
        frame_rate: frames a second; None takes every frame as it is, as for clips that have no rate.
        keep: the option that sets None.
        most: the most frames that are used; None for all.

    Returns:
        frames uint8 [frames, height, width, 3], and how they were read.

    Raises:
        DummyForcingError: the clip is damaged, has a gap in its time stamps or does not fit into memory.
    """
    if frame_rate is None or clip.frame_rate is None:
        frames, more = _stacked(clip, clip, most)
        return frames, replace(Reading.whole(clip, len(frames)), more=more)
    counted = _Counted(clip, keep)
    resampled = AtRate(counted, Fraction(frame_rate))
    frames, more = _stacked(clip, resampled, most)
    if not resampled.changed or len(frames) == counted.passed == 1:
        return frames, replace(Reading.whole(clip, len(frames)), more=more)
    return frames, Reading(counted.passed, clip.frame_rate, len(frames), resampled.frame_rate, clip.sound, more)


def _stacked(clip: Clip, frames: Iterable[Tensor], most: int | None) -> tuple[Tensor, bool]:
    """The first frames, and whether there are more."""
    found: list[Tensor] = []
    with contextlib.closing(iter(frames)) as each:
        for frame in islice(each, most):
            if found and len(found) % _LOOKS == 0:
                _check_room(clip, len(found), frame.numel())
            found.append(frame)
        more = most is not None and _goes_on(each)
    return torch.stack(found), more


def _goes_on(frames: Iterator[Tensor]) -> bool:
    try:
        return next(frames, None) is not None
    except DummyForcingError:  # damage after the frames that are used
        return True


def _check_room(clip: Clip, frames: int, frame_bytes: int) -> None:
    """Raise if there is no room for what these frames still need: a stacked copy, and a float one for the VAE."""
    need, free = frames * frame_bytes * (1 + torch.float32.itemsize), free_bytes(torch.device("cpu"))
    if free is not None and need > free:
        raise DummyForcingError(
            f"the video is too long: its first {frames} frames of {clip.width} x {clip.height} already need "
            f"{format_bytes(need)} to be encoded, and {format_bytes(free)} of memory are free; use a shorter or "
            "smaller video, or make a shorter one from it"
        )


class _Counted:
    """A clip that counts the frames it has given and refuses one that would stay longer than `LONGEST_SHOWN`."""

    def __init__(self, clip: Clip, keep: str):
        self._clip, self._keep, self.passed = clip, keep, 0
        self.width, self.height, self.sound = clip.width, clip.height, clip.sound

    def timed(self) -> Iterator[Shown]:
        for shown in self._clip.timed():
            self.passed += 1
            if shown.end - shown.time > LONGEST_SHOWN:
                gap, at = (f"{float(each):.4g} s" for each in (shown.end - shown.time, shown.time))
                raise DummyForcingError(
                    f"the time stamps of the video have a gap of {gap} behind frame {self.passed}, at {at}; cut "
                    f"the video there, or take its frames one by one with {self._keep}"
                )
            yield shown
