"""Matrix products in FP8 (e4m3): one scale per row of either factor, so per token and per output channel.

Light Forcing runs its linear layers like this (utils/quant.py there): symmetric, the largest magnitude of a row is
`E4M3_MAX`, activations are quantised anew in every call. `torch._scaled_mm` computes the product where the device
can; elsewhere the same quantised numbers are multiplied as ordinary ones.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from .libraries import in_one_line

E4M3_MAX = 448.0
FP8_MULTIPLE = 16
"""Inputs and outputs of a matrix must be multiples of it; how many rows the activations have does not matter."""

SCALED_MM, REFERENCE = "torch._scaled_mm", "reference"

_SMALLEST = torch.finfo(torch.float32).tiny  # of the scales, so that rows of zeros divide by something
_COMPUTES = (torch.float32, torch.bfloat16, torch.float16)


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """[..., K] in any floating type -> e4m3 [..., K] and fp32 scales [..., 1], with x about their product.

    Values below 2^-10 after scaling, half of the smallest e4m3 step, become 0; above the denormal range the
    relative error is at most 2^-4.
    """
    if x.dtype not in _COMPUTES:  # PyTorch 2.13 has no arithmetic in FP8, and norms in fp32 only of narrower types
        x = x.to(torch.float32)
    largest = torch.linalg.vector_norm(x, float("inf"), dim=-1, keepdim=True, dtype=torch.float32)
    scale = (largest / E4M3_MAX).clamp_min(_SMALLEST)
    return (x / scale).to(torch.float8_e4m3fn), scale


def dequantise_rows(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Inverse of `quantise_rows`, up to rounding."""
    return (x.to(torch.float32) * scale).to(dtype)


def fp8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer whose activations are quantised per token on the way.

    Args:
        x: [..., K], fp32, bf16 or fp16.
        weight, weight_scale: e4m3 [N, K] and fp32 [N, 1] from `quantise_rows`.
        bias: [N] or None.

    Returns:
        [..., N], dtype of x.
    """
    rows, row_scale = quantise_rows(x.flatten(0, -2))
    multiply = _scaled_mm if fp8_path(x.device)[0] == SCALED_MM else multiply_plainly
    return multiply(rows, row_scale, weight, weight_scale, bias, x.dtype).unflatten(0, x.shape[:-1])


@torch.compiler.assume_constant_result
def fp8_path(device: torch.device) -> tuple[str, str]:
    """How products are computed on a device, and why; found out by trying a small one."""
    return _tried(device)


@cache
def _tried(device: torch.device) -> tuple[str, str]:
    ones = torch.ones(FP8_MULTIPLE, FP8_MULTIPLE, device=device)
    rows, scale = quantise_rows(ones)
    try:
        _scaled_mm(rows, scale, rows, scale, ones[0], torch.bfloat16)
    except (RuntimeError, NotImplementedError, AttributeError, TypeError, ValueError) as error:
        return REFERENCE, f"this device or PyTorch has no row-wise FP8 product, {in_one_line(error)}"
    return SCALED_MM, "row-wise scales"


def multiply_plainly(
    x: Tensor, x_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """The same product without FP8 arithmetic: e4m3 numbers are exact in any wider type but overflow fp16 sums."""
    wide = torch.float32 if dtype == torch.float32 else torch.bfloat16
    product = (x.to(wide) @ weight.to(wide).t()).float() * x_scale * weight_scale.t()
    return (product if bias is None else product + bias).to(dtype)


def _scaled_mm(
    x: Tensor, x_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    made = dtype if x.device.type == "cpu" else torch.bfloat16  # all that CUDA's row-wise products give (2.13)
    product = torch._scaled_mm(
        x,
        weight.t(),
        scale_a=x_scale,
        scale_b=weight_scale.t(),
        bias=None if bias is None else bias.to(made),
        out_dtype=made,
        use_fast_accum=True,
    )
    return product.to(dtype)
