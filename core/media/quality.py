"""How much two clips differ: PSNR in decibels and SSIM."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .frames import check_frames

WINDOW = 11
"""Width and height of SSIM's window in pixels; frames must be at least as large."""
_SIGMA, _K1, _K2 = 1.5, 0.01, 0.03
_LUMA = (0.299, 0.587, 0.114)


def psnr(a: Tensor, b: Tensor, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio 10 log10(peak^2 / mean((a - b)^2)) over all elements, in dB.

    Args:
        a, b: tensors of one shape, both floating point or both integer.
        peak: distance between black and white: 1.0 for floats in [0, 1], 255 for uint8.

    Returns:
        `float("inf")` for equal tensors, nan if either holds nan.

    Raises:
        DummyForcingError: shapes or kinds of dtype differ, no elements, or integers with a peak of 1.
    """
    _check(a, b, peak)
    return decibels(_squared_error(a, b), peak)


def squared_errors(a: Tensor, b: Tensor, peak: float = 1.0) -> Tensor:
    """mean((a - b)^2) of each frame of two clips [frames, ...] as a float64 tensor [frames] on the CPU."""
    _check(a, b, peak)
    return torch.tensor([_squared_error(x, y) for x, y in zip(a, b, strict=True)], dtype=torch.float64)


def decibels(squared_error: float, peak: float = 1.0) -> float:
    """The PSNR that belongs to a mean squared error; inf for 0."""
    if squared_error == 0:
        return math.inf
    return 10 * math.log10(peak * peak / squared_error)


def ssim_per_frame(a: Tensor, b: Tensor, peak: float = 1.0) -> Tensor:
    """Structural similarity of each frame of two RGB clips as a float64 tensor [frames] on the CPU.

    Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    2004, section III: an 11 x 11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, the mean over all windows that lie
    entirely in the frame. Like theirs it compares grey pictures: the luma 0.299 R + 0.587 G + 0.114 B. The
    authors' code advises scaling large frames down first, for viewing from afar; this function does not.

    Args:
        a, b: [frames, height, width, 3] of one shape, float or uint8, at least 11 x 11 pixels.
        peak: as for `psnr`.

    Returns:
        1 for equal frames; at least -1.

    Raises:
        DummyForcingError: as `psnr`, and for frames that are not RGB or are too small.
    """
    _check(a, b, peak)
    check_frames(a)
    if min(a.shape[1:3]) < WINDOW:
        raise DummyForcingError(
            f"SSIM needs at least {WINDOW} x {WINDOW} pixels, got {a.shape[2]} x {a.shape[1]}; enlarge the frames"
        )
    found = [_ssim(_luma(x, peak), _luma(y.to(x.device), peak)) for x, y in zip(a, b, strict=True)]
    return torch.tensor(found, dtype=torch.float64)


def _check(a: Tensor, b: Tensor, peak: float) -> None:
    if a.shape != b.shape or a.numel() == 0:
        raise DummyForcingError(
            f"PSNR and SSIM compare tensors of one shape with at least one element, got {list(a.shape)} and "
            f"{list(b.shape)}; trim or resize one clip"
        )
    if a.is_floating_point() != b.is_floating_point():
        raise DummyForcingError(
            f"both clips have to be on one scale, got {a.dtype} and {b.dtype}; convert one clip"
        )
    if peak <= 0 or (peak == 1 and not a.is_floating_point()):
        raise DummyForcingError(f"{a.dtype} cannot have a peak of {peak}; pass 255 for uint8, 1.0 for floats")


def _squared_error(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double().to(a.device)).square().mean().item()


def _luma(frame: Tensor, peak: float) -> Tensor:
    """Luma [H, W] in units of the peak."""
    return (frame.float() / peak) @ torch.tensor(_LUMA, device=frame.device)


def _ssim(x: Tensor, y: Tensor) -> float:
    # Subtracting the mean leaves variances as they are and lets fp32 resolve the small ones of flat areas.
    base_x, base_y = x.mean(), y.mean()
    x, y = x - base_x, y - base_y
    mean_x, mean_y, xx, yy, xy = _window_means(torch.stack([x, y, x * x, y * y, x * y]))
    spread = (xx - mean_x * mean_x) + (yy - mean_y * mean_y)
    covariance = xy - mean_x * mean_y
    mean_x, mean_y = mean_x + base_x, mean_y + base_y
    c1, c2 = _K1**2, _K2**2
    light = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return (light * (2 * covariance + c2) / (spread + c2)).double().mean().item()


def _window_means(maps: Tensor) -> Tensor:
    """Gaussian means of [N, H, W] over every window: [N, H - 10, W - 10]."""
    weights = [math.exp(-((place - WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for place in range(WINDOW)]
    for axis in (1, 2):
        # Sums of slices: on a CPU many times as fast as a convolution of one channel.
        size = maps.shape[axis] - WINDOW + 1
        found = torch.zeros_like(maps.narrow(axis, 0, size))
        for place, weight in enumerate(weights):
            found.add_(maps.narrow(axis, place, size), alpha=weight / sum(weights))
        maps = found
    return maps
