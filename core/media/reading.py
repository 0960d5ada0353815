"""What people give a video to begin with or to be made from: one way to read it, and words for what it lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .clips import AtRate, Clip, Shown
from .file_clip import FileClip
from .pictures import open_picture


@dataclass(frozen=True)
class Reading:
    """How a clip was read.

    Attributes:
        given_frames: frames of the clip.
        given_rate: its mean frames a second; None if it has none.
        frames: frames that were made of them.
        rate: frames a second of these; None where every frame was taken as it is.
        sound: whether the clip has sound, which is left out.
    """

    given_frames: int
    given_rate: Fraction | None
    frames: int
    rate: Fraction | None
    sound: bool

    @classmethod
    def whole(cls, clip: Clip, frames: int) -> Reading:
        """Of a clip all of whose frames were taken as they are."""
        return cls(frames, clip.frame_rate, frames, None, clip.sound)

    def lost(self, used: int, keep: str) -> list[str]:
        """In plain words what is not in the video as it was given; empty if nothing.

        used: so many of the frames, from the first on, go into the video. keep: what people set to keep all frames.
        """
        found = []
        if self.rate is not None and (self.rate, self.frames) != (self.given_rate, self.given_frames):
            given, made = (f"{float(rate):.4g} a second" for rate in (self.given_rate, self.rate))
            found.append(
                f"{_frames(self.given_frames)} at {given} were read as {self.frames} at {made}, which keeps the "
                f"speed; {keep} takes them one by one"
            )
        if used < self.frames:
            found.append(f"{_frames(self.frames - used)} at the end are left out")
        if self.sound:
            found.append("its sound is left out")
        return found

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


def read_clip(clip: Clip, frame_rate: float | None) -> tuple[Tensor, Reading]:
    """All of a clip at a frame rate, by its time stamps.

    Args:
        frame_rate: frames a second; None takes every frame as it is, as for clips that have no rate.

    Returns:
        frames uint8 [frames, height, width, 3], and how they were read.
    """
    if frame_rate is None or clip.frame_rate is None:
        frames = torch.stack(list(clip))
        return frames, Reading.whole(clip, len(frames))
    counted = _Counted(clip)
    frames = torch.stack(list(AtRate(counted, Fraction(frame_rate))))
    return frames, Reading(counted.passed, clip.frame_rate, len(frames), Fraction(frame_rate), clip.sound)


class _Counted:
    """A clip that counts the frames it has given."""

    def __init__(self, clip: Clip):
        self._clip, self.passed = clip, 0
        self.width, self.height, self.sound = clip.width, clip.height, clip.sound

    def timed(self) -> Iterator[Shown]:
        for shown in self._clip.timed():
            self.passed += 1
            yield shown


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
