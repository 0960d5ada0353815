"""A comparison of two clips as a picture: PSNR and SSIM over time, and what making each clip cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .bars import BarGroup, draw_bars
from .chart import COLOURS, Line, Panel, draw_panels
from .clip_quality import ClipQuality
from .drawing import blank

if TYPE_CHECKING:
    from PIL import Image

_STEP = 10  # dB; the PSNR axis begins and ends at multiples of it
_CURVE, _MEAN = COLOURS[2], COLOURS[5]  # not the colours of the bars, each of which stands for one clip


def draw_comparison(
    quality: ClipQuality, labels: tuple[str, str], frame_rate: float, costs: Sequence[BarGroup]
) -> Image.Image:
    """Draw the curves of at least one frame, and below them the bars, if any; labels: the clips' names."""
    each = "each frame" if quality.point_frames == 1 else f"lowest of {quality.point_frames} frames"
    panels = [
        Panel(
            _psnr_title(quality, labels),
            _lines(quality.psnr_curve, quality, frame_rate, each),
            _psnr_range(quality),
        ),
        Panel("SSIM", _lines(quality.ssim_curve, quality, frame_rate, each), _ssim_range(quality)),
    ]
    curves = draw_panels(panels, "s", (0.0, 1.0))
    if not costs:
        return curves
    bars = draw_bars(costs, curves.width)
    picture = blank(curves.width, curves.height + bars.height)
    picture.paste(curves, (0, 0))
    picture.paste(bars, (0, curves.height))
    return picture


def _lines(curve: Sequence[float], quality: ClipQuality, frame_rate: float, each: str) -> tuple[Line, ...]:
    is_psnr = curve is quality.psnr_curve
    end = quality.frames / frame_rate
    times = [index * quality.point_frames / frame_rate for index in range(len(curve))]
    found = [*zip(times, curve, strict=True), (end, curve[-1])]
    mean = quality.psnr if is_psnr else quality.ssim
    name = f"all frames: {describe_psnr(mean) if is_psnr else f'{mean:.3f}'}"
    return Line(each, tuple(found), _CURVE), Line(name, ((0.0, mean), (end, mean)), _MEAN)


def _psnr_title(quality: ClipQuality, labels: tuple[str, str]) -> str:
    equal = "; equal frames on the upper edge" if math.inf in quality.psnr_curve else ""
    return f"{labels[0]} and {labels[1]}: PSNR, dB{equal}"


def describe_psnr(value: float) -> str:
    """A PSNR in words; an infinite one means that the frames are equal."""
    return "equal" if math.isinf(value) else f"{value:.2f} dB"


def _psnr_range(quality: ClipQuality) -> tuple[float, float]:
    """Multiples of `_STEP` around the finite values; equal frames lie on the upper edge."""
    finite = [value for value in quality.psnr_curve if not math.isinf(value)] or [0.0]
    low = max(0, math.floor(min(finite) / _STEP) * _STEP)
    return low, max(math.ceil(max(finite) / _STEP) * _STEP, low + _STEP)


def _ssim_range(quality: ClipQuality) -> tuple[float, float]:
    """From the lowest value, rounded down to a tenth and at most 0.9, to 1."""
    return min(0.9, math.floor(10 * quality.worst_ssim) / 10), 1.0
