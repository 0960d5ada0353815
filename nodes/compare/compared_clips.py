"""Opens what Compare Videos is given, as clips that are read frame by frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from comfy_api.latest import InputImpl
from torch import Tensor

from ...core.errors import DummyForcingError
from ...core.media.clips import Clip, PictureClip
from ...core.media.file_clip import FileClip
from ...core.stream.prompt_times import FRAME_RATE
from ...core.stream.tally import RunReport
from ..types import VideoRun
from .comparison import Note


def open_clip(given: Any) -> Clip:
    """A run, VIDEO or IMAGE as a clip. Frames are read from the file where there is one."""
    if isinstance(given, VideoRun):
        return FileClip(given.file)
    if isinstance(given, Tensor):
        return PictureClip(given[..., :3])
    if isinstance(given, InputImpl.VideoFromFile):
        return FileClip(given.get_stream_source(), *given.get_active_trim_window())
    found = given.get_components()  # the frames are in memory; asking for a file would make a new one
    rate = Fraction(found.frame_rate) if found.frame_rate else None
    return PictureClip(found.images[..., :3], rate, found.audio is not None)


def report_of(given: Any) -> RunReport | None:
    """What making the given video has cost, if that is known."""
    return given.report if isinstance(given, VideoRun) else None


def frame_rate_of(a: Clip, b: Clip) -> float:
    """Frames a second to play both at: a's, else b's, else that of the models."""
    return float(a.frame_rate or b.frame_rate or FRAME_RATE)


def differences(a: Clip, b: Clip, goes_on: str | None, labels: tuple[str, str]) -> list[Note]:
    """What two clips differ in besides their frames, so that nobody takes these differences for quality.

    Args:
        goes_on: as in `Pairs`.
    """
    found = []
    if (a.width, a.height) != (b.width, b.height):
        code = "scaled" if a.width * b.height == a.height * b.width else "stretched"
        before, after = f"{b.width} x {b.height}", f"{a.width} x {a.height}"
        found.append(Note(code, {"label": labels[1], "before": before, "after": after}))
    if a.frame_rate and b.frame_rate and a.frame_rate != b.frame_rate:
        rates = {"rate_a": f"{float(a.frame_rate):g}", "rate_b": f"{float(b.frame_rate):g}"}
        found.append(Note("frame_rates", {"a": labels[0], "b": labels[1], **rates}))
    if goes_on is not None:
        found.append(Note("goes_on", {"label": labels["ab".index(goes_on)]}))
    return found


def check_sizes(a: Clip, least: int) -> None:
    """Raise DummyForcingError if `a`, in whose size both are compared, is too small to measure."""
    if min(a.width, a.height) < least:
        raise DummyForcingError(
            f"the frames of a have {a.width} x {a.height} pixels; expected at least {least} x {least}; enlarge "
            "the frames, or connect the larger one to a"
        )
