"""How much two clips differ over time, measured piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from .quality import decibels, squared_errors, ssim_per_frame

MOST_POINTS = 300
_PEAK = 255


@dataclass(frozen=True)
class ClipQuality:
    """How much the frames so far differ; PSNR and SSIM are nan if there were none.

    Attributes:
        frames: how many were compared.
        psnr: of the whole clip in dB, from its mean squared error, not the mean of the frames' PSNR; inf if all
            frames are equal.
        ssim: mean over frames.
        worst_frame, worst_ssim: the first frame with the lowest SSIM, and that SSIM.
        point_frames: frames that each point of the curves stands for; the last point may stand for fewer.
        psnr_curve, ssim_curve: the lowest value in each such stretch of frames, at most `MOST_POINTS` values, so
            that one bad frame in an hour is seen.
    """

    frames: int
    psnr: float
    ssim: float
    worst_frame: int
    worst_ssim: float
    point_frames: int
    psnr_curve: tuple[float, ...]
    ssim_curve: tuple[float, ...]


class QualityMeter:
    """Takes two clips of uint8 frames piece by piece; its memory does not grow with their length."""

    def __init__(self, most_points: int = MOST_POINTS):
        """most_points: the most points that a curve may have; an even number."""
        self._frames = 0
        self._squared_error = self._ssim = 0.0
        self._worst = (math.inf, 0)  # SSIM, frame
        self._curves = LowestOverTime(most_points), LowestOverTime(most_points)

    def add(self, a: Tensor, b: Tensor) -> None:
        """Compare the next frames of both clips, uint8 [T, H, W, 3]."""
        errors = squared_errors(a, b, _PEAK).tolist()
        similar = ssim_per_frame(a, b, _PEAK).tolist()
        for error, ssim in zip(errors, similar, strict=True):
            self._squared_error += error
            self._ssim += ssim
            self._worst = min(self._worst, (ssim, self._frames))
            self._curves[0].add(decibels(error, _PEAK))
            self._curves[1].add(ssim)
            self._frames += 1

    @property
    def quality(self) -> ClipQuality:
        """How much the frames so far differ."""
        count = self._frames
        return ClipQuality(
            frames=count,
            psnr=decibels(self._squared_error / count, _PEAK) if count else math.nan,
            ssim=self._ssim / count if count else math.nan,
            worst_frame=self._worst[1],
            worst_ssim=self._worst[0] if count else math.nan,
            point_frames=self._curves[0].width,
            psnr_curve=self._curves[0].lowest,
            ssim_curve=self._curves[1].lowest,
        )


class LowestOverTime:
    """The lowest value in each stretch of a series.

    Stretches are equally long; their length doubles whenever there would be more than `most`.
    """

    def __init__(self, most: int):
        """most: an even number."""
        self._most = most
        self._count = 0
        self._lowest: list[float] = []
        self.width = 1
        """Values in a stretch; the last stretch may have fewer."""

    @property
    def lowest(self) -> tuple[float, ...]:
        """One value for each stretch."""
        return tuple(self._lowest)

    def add(self, value: float) -> None:
        """Add the next value."""
        if self._count == self._most * self.width:
            pairs = zip(self._lowest[::2], self._lowest[1::2], strict=True)
            self._lowest, self.width = [min(pair) for pair in pairs], 2 * self.width
        if self._count % self.width:
            self._lowest[-1] = min(self._lowest[-1], value)
        else:
            self._lowest.append(value)
        self._count += 1
