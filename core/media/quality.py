"""How far two clips are apart, in decibels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import DummyForcingError


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
    return _decibels(_squared_error(a, b), peak)


def psnr_per_frame(a: Tensor, b: Tensor, peak: float = 1.0) -> Tensor:
    """`psnr` of each frame of two clips [frames, ...] as a float64 tensor [frames] on the CPU.

    inf for equal frames. Mind that the mean of these is not the `psnr` of the clip: average errors, not dB.
    """
    _check(a, b, peak)
    errors = (_squared_error(x, y) for x, y in zip(a, b, strict=True))
    return torch.tensor([_decibels(error, peak) for error in errors], dtype=torch.float64)


def _check(a: Tensor, b: Tensor, peak: float) -> None:
    if a.shape != b.shape or a.numel() == 0:
        raise DummyForcingError(
            f"PSNR compares tensors of one shape with at least one element, got {list(a.shape)} and "
            f"{list(b.shape)}; trim or resize one of them"
        )
    if a.is_floating_point() != b.is_floating_point():
        raise DummyForcingError(f"PSNR needs both clips on one scale, got {a.dtype} and {b.dtype}; convert one")
    if peak <= 0 or (peak == 1 and not a.is_floating_point()):
        raise DummyForcingError(f"PSNR of {a.dtype} cannot have peak {peak}; pass 255 for uint8, 1.0 for floats")


def _squared_error(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double().to(a.device)).square().mean().item()


def _decibels(squared_error: float, peak: float) -> float:
    if squared_error == 0:
        return math.inf
    return 10 * math.log10(peak * peak / squared_error)
