"""Gated residual, LayerNorm, scale and shift in one Triton kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .triton_kernel import at_least, launch, runs_on

if TYPE_CHECKING:
    import triton.language as tl

_MOST_CHANNELS = 16384


def layer_norm_fused(x: Tensor, update: Tensor | None, gate: Tensor | None, eps: float, then):
    """Returns the sum (x itself without an update) and its norm."""
    x = _rows(x)
    update = None if update is None else _rows(update)
    batch, tokens, dim = x.shape
    total = x if update is None else torch.empty_like(x, memory_format=torch.contiguous_format)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    per_frame = [
        each if each is None or each.ndim == 3 else each[None, None] for each in (gate, then.scale, then.shift)
    ]
    per_frame = [None if each is None else _rows(each) for each in per_frame]
    frames = max(1 if each is None else each.shape[1] for each in per_frame)
    tensors = (x, update, *per_frame, total, out)
    strides = (stride for each in tensors for stride in _steps(each))
    arguments = (*(x if each is None else each for each in tensors), *strides, tokens // frames, dim, eps)
    constants = {
        "HAS_UPDATE": update is not None, "HAS_GATE": gate is not None,
        "HAS_SCALE": then.scale is not None, "HAS_SHIFT": then.shift is not None,
        "ABOUT_ONE": then.scale is not None and then.scale.ndim == 3,
        "CHANNELS": at_least(dim), "num_warps": min(16, max(4, at_least(dim) // 512)),
    }  # fmt: skip
    launch(residual_layer_norm, (tokens, batch), x, *arguments, **constants)
    return total, out


def fits_layer_norm(x: Tensor, update: Tensor | None, gate: Tensor | None, eps: float, then) -> bool:
    """Whether a row fits into one tile."""
    return runs_on(x) and x.shape[-1] <= _MOST_CHANNELS


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _steps(x: Tensor | None) -> tuple[int, int]:
    """Strides from item to item and from row to row; 0 where there is only one, so that it is reused for all."""
    if x is None:
        return 0, 0
    return tuple(stride if size > 1 else 0 for stride, size in zip(x.stride()[:2], x.shape[:2], strict=True))


def residual_layer_norm(
    X, UPDATE, GATE, SCALE, SHIFT, TOTAL, OUT,
    x_b, x_l, u_b, u_l, g_b, g_f, scale_b, scale_f, shift_b, shift_f, t_b, t_l, o_b, o_l,
    frame_tokens, dim, eps,
    HAS_UPDATE: tl.constexpr, HAS_GATE: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr,
    ABOUT_ONE: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The kernel; a program is a token. Strides are in elements, offsets 64-bit.

    The sum is rounded to its dtype before it is normalised, as happens when sum and norm are separate operations.
    """
    token = tl.program_id(0).to(tl.int64)
    item = tl.program_id(1).to(tl.int64)
    frame = token // frame_tokens
    channel = tl.arange(0, CHANNELS)
    inside = channel < dim

    x = tl.load(X + item * x_b + token * x_l + channel, mask=inside, other=0.0).to(tl.float32)
    if HAS_UPDATE:
        update = tl.load(UPDATE + item * u_b + token * u_l + channel, mask=inside, other=0.0).to(tl.float32)
        if HAS_GATE:
            update *= tl.load(GATE + item * g_b + frame * g_f + channel, mask=inside, other=0.0).to(tl.float32)
        total = (x + update).to(TOTAL.dtype.element_ty)
        tl.store(TOTAL + item * t_b + token * t_l + channel, total, mask=inside)
        x = total.to(tl.float32)

    # Masked again, because channels beyond dim are now -mean; two passes, as E[x^2] - mean^2 would cancel.
    x = tl.where(inside, x - tl.sum(x, 0) / dim, 0.0)
    x = x * tl.rsqrt(tl.sum(x * x, 0) / dim + eps)
    if HAS_SCALE:
        scale = tl.load(SCALE + item * scale_b + frame * scale_f + channel, mask=inside, other=0.0).to(tl.float32)
        if ABOUT_ONE:
            scale += 1.0
        x *= scale
    if HAS_SHIFT:
        x += tl.load(SHIFT + item * shift_b + frame * shift_f + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(OUT + item * o_b + token * o_l + channel, x.to(OUT.dtype.element_ty), mask=inside)
