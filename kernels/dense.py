"""Dense attention, every query over every key, through the fastest library present."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .choice import bucket
from .dispatch import Dispatcher, Implementation
from .libraries import library

Dense = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q [B, Lq, H, D], k and v [B, Lk, H, D] -> [B, Lq, H, D]: every query reads every key."""


def attend_densely(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The fastest dense attention present, in the layout of `Dense`; on a CPU torch's own."""
    batch, queries, heads, dim = q.shape
    kind = (q.dtype, batch, heads, dim, bucket(queries), bucket(k.shape[1]))
    return DENSE(kind, q.device, q, k, v)


def _sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


def _sdpa_through(name: str) -> Dense:
    """torch's attention held to one of its back ends."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attention = library("torch.nn.attention")
        with attention.sdpa_kernel([getattr(attention.SDPBackend, name)]):
            return _sdpa(q, k, v)

    return run


def _flash(module: str) -> Dense:
    """flash-attn's function, whose layout is ours; some versions return the log-sum-exp as well."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = library(module).flash_attn_func(q, k, v)
        return out[0] if isinstance(out, tuple) else out

    return run


def _sage(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return library("sageattention").sageattn(q, k, v, tensor_layout="NHD", is_causal=False)


def fits_flash(q: Tensor, *capability: int) -> bool:
    """Half precision, a head that flash attention takes, on CUDA of one of these major versions."""
    half = q.dtype in (torch.float16, torch.bfloat16)
    if not (q.is_cuda and half and q.shape[-1] <= 256 and q.shape[-1] % 8 == 0) or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(q.device)[0] in capability


def _ampere(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return fits_flash(q, 8, 9, 10, 11, 12)


def _hopper(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return fits_flash(q, 9)


def _cuda(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return q.is_cuda


def _never(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return False


_HALF = "CUDA of compute capability 8.0 or newer, bf16 or fp16, head_dim up to 256"

DENSE = Dispatcher(
    "dense attention",
    [
        Implementation("sdpa", _sdpa, "nothing but torch"),
        Implementation("flash3", _flash("flash_attn_interface"), "flash-attn 3 and a Hopper GPU, bf16 or fp16",
                       _hopper, library="flash_attn_interface"),
        Implementation("flash2", _flash("flash_attn"), f"flash-attn 2, {_HALF}", _ampere, library="flash_attn"),
        Implementation("cudnn", _sdpa_through("CUDNN_ATTENTION"), f"cuDNN, {_HALF}", _ampere,
                       library="torch.nn.attention"),
        Implementation("flash_sdpa", _sdpa_through("FLASH_ATTENTION"), _HALF, _ampere,
                       library="torch.nn.attention"),
        Implementation("efficient", _sdpa_through("EFFICIENT_ATTENTION"), "CUDA", _cuda,
                       library="torch.nn.attention"),
        # Quantises q and k: not what the model was given, so only by name.
        Implementation("sage", _sage, f"sageattention, {_HALF}", _ampere, _never, library="sageattention"),
    ],
)  # fmt: skip
