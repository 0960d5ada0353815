"""The file formats a video can be written in, one table row per suffix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType

from ..errors import DummyForcingError

MIN_FPS = Fraction(1, 100)


@dataclass(frozen=True)
class FileFormat:
    """How one kind of file is encoded.

    Attributes:
        codec: FFmpeg encoder name.
        pixels: FFmpeg pixel format the encoder is given.
        max_fps: highest frame rate the container's clock can tell apart (GIF counts 1/100 s, and browsers
            slow down anything shorter than 2/100 s; WebM counts 1/1000 s).
        crf: allowed constant rate factors, lower is better; None where the codec has no such setting.
        default_crf: visually lossless for this codec.
        subsampled: colour is stored at half resolution, so width and height must be even.
        options: further encoder options.
    """

    codec: str
    pixels: str
    max_fps: int
    crf: range | None = None
    default_crf: int | None = None
    subsampled: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


FORMATS: Mapping[str, FileFormat] = {
    # crf 0 would switch H.264 to its lossless profile, which browsers do not play.
    ".mp4": FileFormat("libx264", "yuv420p", 1000, range(1, 52), 18, options={"profile": "high"}),
    # b=0 makes crf the only target; cpu-used trades the last few percent of size for several times the speed.
    ".webm": FileFormat(
        "libvpx-vp9", "yuv420p", 1000, range(64), 24,
        options={"b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"},
    ),
    ".gif": FileFormat("gif", "pal8", 50, subsampled=False),
}  # fmt: skip


def file_format(path: Path) -> FileFormat:
    """The table row for the suffix of `path`, or `DummyForcingError`."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise DummyForcingError(
            f"cannot tell the video format of {path.name!r}; end the file name in {', '.join(FORMATS)}"
        )
    return found


def check_fps(fps: Fraction | float, target: FileFormat) -> Fraction:
    """`fps` as an exact fraction that fits the container, or `DummyForcingError`."""
    try:
        rate = Fraction(fps).limit_denominator(1001)
    except (TypeError, ValueError, OverflowError):
        rate = Fraction(0)
    if not MIN_FPS <= rate <= target.max_fps:
        raise DummyForcingError(
            f"{target.codec} video needs between {float(MIN_FPS)} and {target.max_fps} frames per second, "
            f"got {fps}; change the frame rate" + ("" if target.max_fps > 50 else " or write an .mp4")
        )
    return rate


def encoder_options(crf: int | None, target: FileFormat) -> dict[str, str]:
    """Encoder options with the constant rate factor filled in, or `DummyForcingError`."""
    if target.crf is None:
        return dict(target.options)
    chosen = target.default_crf if crf is None else crf
    if chosen not in target.crf:
        raise DummyForcingError(
            f"crf for {target.codec} is a whole number from {target.crf[0]} (best) to {target.crf[-1]}, "
            f"got {crf}; leave crf out for {target.default_crf}"
        )
    return {**target.options, "crf": str(int(chosen))}


def import_av() -> ModuleType:
    """PyAV, which this package needs only to read and write video files, or `DummyForcingError`."""
    try:
        import av
        import numpy  # noqa: F401  PyAV takes frames as arrays and imports NumPy with the first one
    except ImportError as error:
        raise DummyForcingError(
            f"reading and writing video files needs PyAV and NumPy ({error}); run: pip install av numpy"
        ) from error
    return av


def check_encoder(target: FileFormat) -> None:
    """Raise `DummyForcingError` if the installed PyAV lacks the encoder."""
    av = import_av()
    if target.codec not in av.codecs_available:
        raise DummyForcingError(
            f"the installed PyAV has no {target.codec} encoder; run: pip install --force-reinstall av, "
            "or write another format"
        )
