"""What Compare Videos has found, for people: a report, a picture, and what the player draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.media.bars import Bar, BarGroup
from ...core.media.clip_quality import ClipQuality
from ...core.media.comparison_plot import describe_psnr
from ...core.stream.tally import RunReport, format_bytes

MOST_LABEL = 40  # characters


NOTES = {
    "scaled": "{label} was scaled from {before} to {after} pixels",
    "stretched": "{label} was scaled from {before} to {after} pixels, which changes its shape",
    "frame_rates": "{a} has {rate_a} frames a second and {b} {rate_b}: compared frame by frame, not by time",
    "goes_on": "{label} goes on after the last frame of the other",
}
"""What clips may differ in besides their frames, by code; browsers say it in the user's language."""


@dataclass(frozen=True)
class Note:
    """One of `NOTES` and the values for its placeholders."""

    code: str
    values: dict[str, str]

    @property
    def text(self) -> str:
        """In English."""
        return NOTES[self.code].format(**self.values)


@dataclass(frozen=True)
class Cost:
    """A figure of a run's report; `name` is its name in the report and in the browser's texts."""

    name: str
    title: str
    text: Callable[[float], str]

    def of(self, report: RunReport | None) -> float | None:
        return None if report is None else getattr(report, self.name)


COSTS = (
    Cost("dit_fps", "Frames a second in the model", "{:.2f} FPS".format),
    Cost("end_to_end_fps", "Frames a second in all", "{:.2f} FPS".format),
    Cost("kv_peak_bytes", "KV memory at most", format_bytes),
    Cost("seconds", "Time", "{:.1f} s".format),
)


@dataclass(frozen=True)
class Comparison:
    """Two clips compared: how far they are apart and, of runs, what each has cost.

    Attributes:
        labels: of a and b.
        reports: of the runs; None for a clip that is not from a run.
        size: width and height of the frames compared.
        quality: of at least one frame.
        notes: what the clips differ in besides their frames.
    """

    labels: tuple[str, str]
    reports: tuple[RunReport | None, RunReport | None]
    size: tuple[int, int]
    frame_rate: float
    quality: ClipQuality
    notes: Sequence[Note] = ()

    def describe(self) -> str:
        """All figures as text."""
        found, (width, height), (a, b) = self.quality, self.size, self.labels
        count = "1 frame" if found.frames == 1 else f"{found.frames} frames"
        time = f"{(found.worst_frame + 1) / self.frame_rate:.1f} s"  # as players show it
        lines = [
            f"{a} and {b}: {count} of {width} x {height} at {self.frame_rate:g} FPS",
            f"PSNR {describe_psnr(found.psnr)}, of all frames together",
            f"SSIM {found.ssim:.4f} on average, worst {found.worst_ssim:.4f} in frame {found.worst_frame} ({time})",
        ]
        for group in self.bars():
            texts = " and ".join(f"{bar.text} ({bar.name})" for bar in group.bars if bar)
            lines.append(f"{group.title}: {texts}" + (f", {group.note}" if group.note else ""))
        return "\n".join([*lines, *(f"Note: {note.text}." for note in self.notes)])

    def bars(self) -> list[BarGroup]:
        """What the runs have cost, for a picture; none without a run."""
        groups = []
        for cost in COSTS:
            values = [cost.of(report) for report in self.reports]
            pairs = zip(self.labels, values, strict=True)
            bars = [None if value is None else Bar(label, value, cost.text(value)) for label, value in pairs]
            if any(bars):
                ratio = _ratio(*values)
                groups.append(BarGroup(cost.title, tuple(bars), f"{ratio:.2f}x" if ratio else ""))
        return groups

    def state(self) -> dict[str, Any]:
        """What browsers are told, see web/PROTOCOL.md: JSON without infinities, of bounded size."""
        found = self.quality
        return {
            "labels": list(self.labels),
            "frames": found.frames,
            "psnr": _finite(found.psnr, 2),
            "ssim": _finite(found.ssim, 4),
            "worst": {"frame": found.worst_frame, "ssim": _finite(found.worst_ssim, 4)},
            "point_frames": found.point_frames,
            "psnr_curve": [_finite(value, 2) for value in found.psnr_curve],
            "ssim_curve": [_finite(value, 4) for value in found.ssim_curve],
            "costs": self._costs(),
            "notes": [{"code": note.code, **note.values} for note in self.notes],
        }

    def _costs(self) -> dict[str, list[float | None]]:
        if not any(self.reports):
            return {}
        return {cost.name: [cost.of(report) for report in self.reports] for cost in COSTS}


def label(given: str, other: str) -> str:
    """A label as it is shown: on one line, not too long, never empty."""
    words = " ".join(given.split()) or other
    return words if len(words) <= MOST_LABEL else words[: MOST_LABEL - 1] + "…"


def _ratio(a: float | None, b: float | None) -> float | None:
    """b / a, where both are known."""
    return b / a if a and b is not None else None


def _finite(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
