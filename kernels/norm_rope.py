"""From projections to attention: normalise queries and keys, apply RoPE, write keys and values to their stores.

Wan normalises queries and keys over all heads at once (RMSNorm over the full dim), then rotates each head's channel
pairs by the token's position (RoPE). `place_heads` does both and writes every group of heads directly to where
attention reads it, so permuting heads, for stores that hold only some of them, costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import ELEMENTWISE, ELEMENTWISE_NAMES, Dispatcher, Implementation, bucket
from .heads import head_index, head_runs
from .libraries import library
from .norm_rope_triton import fits_norm_rope, norm_rope_fused


@dataclass(frozen=True, eq=False)
class QKNorm:
    """RMSNorm over the channels of all heads. gain: [heads * D], on the device and in the dtype of its inputs."""

    gain: Tensor
    eps: float


@dataclass(frozen=True, eq=False)
class NormRope:
    """What projected queries and keys still need.

    rotations: complex64 [L, 1, D / 2], unit rotations of neighbouring channel pairs.
    norm_q, norm_k: None where they are normalised already.
    """

    rotations: Tensor
    norm_q: QKNorm | None = None
    norm_k: QKNorm | None = None

    def __call__(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Finished q and k [B, L, H, D] as new tensors; gradients flow."""
        return (
            apply_rope(_normalised(q, self.norm_q), self.rotations),
            apply_rope(_normalised(k, self.norm_k), self.rotations),
        )


@dataclass(frozen=True, eq=False)
class HeadTarget:
    """Some heads of a layer, in any order, and the tensors [B, L, heads, D] that their keys and values go to."""

    heads: tuple[int, ...]
    k: Tensor
    v: Tensor


def place_heads(
    q: Tensor, k: Tensor, v: Tensor, targets: Sequence[HeadTarget], norm_rope: NormRope | None = None
) -> list[Tensor]:
    """Write keys and values to their targets.

    Args:
        q, k, v: [B, L, H, D]; as projected if there is a `norm_rope`, else as attention takes them, and then there
            may be any number of queries.
        targets: each with different heads.
        norm_rope: norm and RoPE that q and k still need.

    Returns:
        the queries of each target [B, L, heads, D]; without a `norm_rope`, views of q where possible.
    """
    if norm_rope is None:
        for target in targets:
            _put(k, target.heads, target.k)
            _put(v, target.heads, target.v)
        return [_some(q, target.heads) for target in targets]
    ELEMENTWISE.check(ELEMENTWISE_NAMES)
    asked = [q.new_empty(*q.shape[:2], len(target.heads), q.shape[3]) for target in targets]
    sizes = tuple(len(target.heads) for target in targets)
    norms = norm_rope.norm_q is not None, norm_rope.norm_k is not None
    kind = (q.dtype, q.shape[0], *q.shape[2:], bucket(q.shape[1]), sizes, norms)
    NORM_ROPE(kind, q.device, q, k, v, asked, targets, norm_rope)
    return asked


def apply_rope(x: Tensor, rotations: Tensor) -> Tensor:
    """Rotate neighbouring channel pairs of x [B, L, H, D] by `rotations` [L, 1, D/2]; keeps x's dtype."""
    return torch.view_as_real(_pairs(x.float()) * rotations).flatten(-2).to(x.dtype)


def _normalised(x: Tensor, norm: QKNorm | None) -> Tensor:
    if norm is None:
        return x
    return F.rms_norm(x.flatten(2), norm.gain.shape, norm.gain, norm.eps).view(x.shape)


def _pairs(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def _some(x: Tensor, heads: tuple[int, ...]) -> Tensor:
    whole = heads == tuple(range(x.shape[2]))
    return x if whole else x[:, :, head_index(heads, x.device)]


def _put(x: Tensor, heads: tuple[int, ...], out: Tensor) -> None:
    """out = x[:, :, heads], without gathering them first."""
    for there, here in head_runs(heads):
        out[:, :, here] = x[:, :, there]


def _turn(x: Tensor, rotations: Tensor, outs: Sequence[tuple[tuple[int, ...], Tensor]]) -> None:
    """Rotate heads of x and write them to their places; in fp32 the product is written there directly."""
    if x.dtype == torch.float32 and all(out.dtype == torch.float32 for _, out in outs):
        for heads, out in outs:
            for there, here in head_runs(heads):
                torch.mul(_pairs(x[:, :, there]), rotations, out=_pairs(out[:, :, here]))
        return
    pairs = _pairs(x.float())
    ours = None if x.dtype == torch.float32 else pairs  # changed in place: it is a copy
    turned = torch.view_as_real(torch.mul(pairs, rotations, out=ours)).flatten(-2)
    for heads, out in outs:
        _put(turned, heads, out)


def _by_torch(
    q: Tensor, k: Tensor, v: Tensor, asked: Sequence[Tensor], targets: Sequence[HeadTarget], norm_rope: NormRope
) -> None:
    heads = [target.heads for target in targets]
    _turn(_normalised(q, norm_rope.norm_q), norm_rope.rotations, list(zip(heads, asked, strict=True)))
    _turn(_normalised(k, norm_rope.norm_k), norm_rope.rotations, [(target.heads, target.k) for target in targets])
    for target in targets:
        _put(v, target.heads, target.v)


def _by_kitchen(
    q: Tensor, k: Tensor, v: Tensor, asked: Sequence[Tensor], targets: Sequence[HeadTarget], norm_rope: NormRope
) -> None:
    """RoPE by comfy-kitchen, which ComfyUI brings; norm and write are ours.

    comfy-kitchen 0.2.16 has no RMSNorm and writes to new tensors only. In 0.2.40 there are `rms_rope`, whose norm
    is over each head while Wan's is over all of them, and operations in place (`apply_rope_`), but none that
    writes the heads of k to other places.
    """
    q, k = _normalised(q, norm_rope.norm_q), _normalised(k, norm_rope.norm_k)
    q, k = library("comfy_kitchen").apply_rope(q, k, _matrices(norm_rope.rotations))
    for out, target in zip(asked, targets, strict=True):
        _put(q, target.heads, out)
        _put(k, target.heads, target.k)
        _put(v, target.heads, target.v)


@lru_cache(maxsize=1)  # all layers of all passes of a chunk share one table
def _matrices(rotations: Tensor) -> Tensor:
    """Rotations as comfy-kitchen takes them: fp32 [1, L, 1, D / 2, 2, 2]."""
    cos, sin = rotations.real, rotations.imag
    return torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))[None]


def _on_cuda(q: Tensor, *rest) -> bool:
    return q.is_cuda


NORM_ROPE = Dispatcher(
    "norm, RoPE and KV write",
    [
        Implementation("torch", _by_torch, "nothing but torch"),
        Implementation("fused", norm_rope_fused, "Triton and CUDA (or TRITON_INTERPRET=1), fp32, bf16 or fp16",
                       fits_norm_rope, _on_cuda, library="triton"),
        Implementation("kitchen", _by_kitchen, "comfy-kitchen", competes=_on_cuda, library="comfy_kitchen"),
    ],
    ELEMENTWISE,
)  # fmt: skip
