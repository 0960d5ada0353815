"""The rest of a block's elementwise work: gated residuals, LayerNorm, scale and shift.

A residual and the norm behind it are one operation here, so that a sum is written once and not read again.
Statistics are computed in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import ELEMENTWISE, ELEMENTWISE_NAMES, Dispatcher, Implementation, bucket
from .layer_norm_triton import fits_layer_norm, layer_norm_fused
from .libraries import library


@dataclass(frozen=True, eq=False)
class Modulation:
    """After the norm, x becomes `x * (1 + scale) + shift`, with one scale and shift [B, F, dim] for each frame."""

    shift: Tensor
    scale: Tensor


@dataclass(frozen=True, eq=False)
class Affine:
    """After the norm, x becomes `x * scale + shift`, both [dim]; None leaves the step out."""

    shift: Tensor | None
    scale: Tensor | None


def layer_norm(x: Tensor, eps: float, then: Modulation | Affine) -> Tensor:
    """LayerNorm of x [B, L, dim] over its channels, then scale and shift; tokens of a frame lie together."""
    return _run(x, None, None, eps, then)[1]


def residual_norm(
    x: Tensor, update: Tensor, gate: Tensor | None, eps: float, then: Modulation | Affine
) -> tuple[Tensor, Tensor]:
    """`gated_residual` and its `layer_norm`: both are returned."""
    return _run(x, update, gate, eps, then)


def gated_residual(x: Tensor, update: Tensor, gate: Tensor | None) -> Tensor:
    """x + update * gate; x and update [B, L, dim], gate [B, F, dim], None for 1.

    One kernel of torch's own, which reads and writes everything once.
    """
    if gate is None:
        return x + update
    frames = (gate.shape[1], -1)
    return torch.addcmul(x.unflatten(1, frames), update.unflatten(1, frames), gate[:, :, None]).flatten(1, 2)


def modulate(x: Tensor, then: Modulation) -> Tensor:
    """Scale and shift of x [B, L, dim] alone."""
    frames = x.unflatten(1, (then.shift.shape[1], -1))
    return torch.addcmul(then.shift[:, :, None], frames, 1 + then.scale[:, :, None]).flatten(1, 2)


def _run(x, update, gate, eps: float, then: Modulation | Affine) -> tuple[Tensor, Tensor]:
    if torch.compiler.is_compiling():  # Inductor fuses these lines itself
        return _by_torch(x, update, gate, eps, then)
    ELEMENTWISE.check(ELEMENTWISE_NAMES)
    frames = then.shift.shape[1] if isinstance(then, Modulation) else 0
    kind = (x.dtype, x.shape[0], x.shape[2], bucket(x.shape[1]), frames, update is None, gate is None)
    return LAYER_NORM(kind, x.device, x, update, gate, eps, then)


def _by_torch(x, update, gate, eps: float, then: Modulation | Affine) -> tuple[Tensor, Tensor]:
    if update is not None:
        x = gated_residual(x, update, gate)
    if isinstance(then, Affine):
        return x, F.layer_norm(x, x.shape[-1:], then.scale, then.shift, eps)
    return x, modulate(F.layer_norm(x, x.shape[-1:], eps=eps), then)


def _by_kitchen(x, update, gate, eps: float, then: Modulation) -> tuple[Tensor, Tensor]:
    """LayerNorm, scale and shift by comfy-kitchen, which ComfyUI brings."""
    if update is not None:
        x = gated_residual(x, update, gate)
    frames = x.unflatten(1, (then.shift.shape[1], -1))
    made = library("comfy_kitchen").adaln(frames, then.scale[:, :, None], then.shift[:, :, None], eps)
    return x, made.flatten(1, 2)


def _is_modulation(x, update, gate, eps, then) -> bool:
    return isinstance(then, Modulation)


def _on_cuda(x: Tensor, *rest) -> bool:
    return x.is_cuda


LAYER_NORM = Dispatcher(
    "LayerNorm, scale and shift",
    [
        Implementation("torch", _by_torch, "nothing but torch"),
        Implementation("fused", layer_norm_fused, "Triton and CUDA (or TRITON_INTERPRET=1), fp32, bf16 or fp16",
                       fits_layer_norm, _on_cuda, library="triton"),
        Implementation("kitchen", _by_kitchen, "comfy-kitchen and a scale and shift per frame", _is_modulation,
                       _on_cuda, library="comfy_kitchen"),
    ],
    ELEMENTWISE,
)  # fmt: skip
