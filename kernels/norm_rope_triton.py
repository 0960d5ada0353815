"""RMSNorm over all heads, RoPE and the write to a store's heads, in one Triton kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .device import numbers_on
from .triton_kernel import at_least, launch, runs_on

if TYPE_CHECKING:
    import triton.language as tl

_MOST_CHANNELS = 16384


def norm_rope_fused(q: Tensor, k: Tensor, v: Tensor, asked: Sequence[Tensor], targets: Sequence, norm_rope) -> None:
    """One launch for each target; it reads whole rows, since the norm spans all heads, and writes the target's."""
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    batch, tokens, heads, dim = q.shape
    rotations = torch.view_as_real(norm_rope.rotations).contiguous()
    norms = norm_rope.norm_q, norm_rope.norm_k
    gains = [rotations if norm is None else norm.gain for norm in norms]  # without a norm it is not read
    eps = [0.0 if norm is None else norm.eps for norm in norms]
    tile = at_least(heads) * at_least(dim)
    constants = {
        "HEADS": at_least(heads), "CHANNELS": at_least(dim),
        "NORM_Q": norms[0] is not None, "NORM_K": norms[1] is not None,
        "num_warps": min(16, max(4, tile // 1024)),
    }  # fmt: skip
    for out, target in zip(asked, targets, strict=True):
        places = _places(target.heads, heads, q.device)
        tensors = (q, k, v, out, target.k, target.v)
        strides = (stride for x in tensors for stride in x.stride()[:3])
        arguments = (*tensors, *gains, rotations, places, *strides, heads, dim, *eps)
        launch(finish_heads, (tokens, batch), q, *arguments, **constants)


def fits_norm_rope(q: Tensor, k: Tensor, v: Tensor, asked: Sequence[Tensor], targets: Sequence, norm_rope) -> bool:
    """Whether a row fits into one tile and a head's channels are contiguous in every output."""
    tile = at_least(q.shape[2]) * at_least(q.shape[3])
    outs = (x for target in targets for x in (target.k, target.v))
    return runs_on(q) and tile <= _MOST_CHANNELS and all(x.stride(-1) == 1 for x in outs)


@lru_cache(maxsize=1024)
def _places(chosen: tuple[int, ...], heads: int, device: torch.device) -> Tensor:
    """Each head's index among the chosen ones: int32 [heads], -1 for heads that are not chosen."""
    places = [chosen.index(head) if head in chosen else -1 for head in range(heads)]
    with torch.inference_mode(False):
        return numbers_on(places, torch.int32, device)


def finish_heads(
    Q, K, V, Q_OUT, K_OUT, V_OUT, GAIN_Q, GAIN_K, ROTATIONS, PLACES,
    q_b, q_l, q_h, k_b, k_l, k_h, v_b, v_l, v_h,
    qo_b, qo_l, qo_h, ko_b, ko_l, ko_h, vo_b, vo_l, vo_h,
    heads, dim, eps_q, eps_k,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, NORM_Q: tl.constexpr, NORM_K: tl.constexpr,
):  # fmt: skip
    """The kernel; a program is a token. Strides are in elements, offsets 64-bit."""
    token = tl.program_id(0).to(tl.int64)
    item = tl.program_id(1).to(tl.int64)
    head = tl.arange(0, HEADS)
    channel = tl.arange(0, CHANNELS)
    inside = (head < heads)[:, None] & (channel < dim)[None, :]
    place = tl.load(PLACES + head, mask=head < heads, other=-1)
    wanted = inside & (place >= 0)[:, None]
    place = tl.maximum(place, 0)  # masked out, but the address must stay inside the tensor

    # A row of rotations is cos and sin by turns, one pair for two neighbouring channels: as long as a head.
    turn = tl.load(ROTATIONS + token * dim + channel, mask=channel < dim, other=0.0)
    cos, sin = tl.split(tl.reshape(turn, [CHANNELS // 2, 2]))
    cos, sin = cos[None, :], sin[None, :]

    at = Q + item * q_b + token * q_l + head[:, None] * q_h + channel[None, :]
    x = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    if NORM_Q:
        gain = tl.load(GAIN_Q + head[:, None] * dim + channel[None, :], mask=inside, other=0.0)
        x = x * tl.rsqrt(tl.sum(tl.sum(x * x, 1), 0) / (heads * dim) + eps_q) * gain.to(tl.float32)
    a, b = tl.split(tl.reshape(x, [HEADS, CHANNELS // 2, 2]))
    x = tl.reshape(tl.join(a * cos - b * sin, a * sin + b * cos), [HEADS, CHANNELS])
    at = Q_OUT + item * qo_b + token * qo_l + place[:, None] * qo_h + channel[None, :]
    tl.store(at, x.to(Q_OUT.dtype.element_ty), mask=wanted)

    at = K + item * k_b + token * k_l + head[:, None] * k_h + channel[None, :]
    x = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    if NORM_K:
        gain = tl.load(GAIN_K + head[:, None] * dim + channel[None, :], mask=inside, other=0.0)
        x = x * tl.rsqrt(tl.sum(tl.sum(x * x, 1), 0) / (heads * dim) + eps_k) * gain.to(tl.float32)
    a, b = tl.split(tl.reshape(x, [HEADS, CHANNELS // 2, 2]))
    x = tl.reshape(tl.join(a * cos - b * sin, a * sin + b * cos), [HEADS, CHANNELS])
    at = K_OUT + item * ko_b + token * ko_l + place[:, None] * ko_h + channel[None, :]
    tl.store(at, x.to(K_OUT.dtype.element_ty), mask=wanted)

    at = V + item * v_b + token * v_l + head[:, None] * v_h + channel[None, :]
    x = tl.load(at, mask=wanted, other=0.0)
    at = V_OUT + item * vo_b + token * vo_l + place[:, None] * vo_h + channel[None, :]
    tl.store(at, x.to(V_OUT.dtype.element_ty), mask=wanted)
