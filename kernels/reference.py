"""The masked attention that every other back end is tested against: slow, plain, fp32."""

from __future__ import annotations

import torch
from torch import Tensor

from .plan import ReadPlan


def attend_reference(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v over the planned keys; zeros where a head reads nothing.

    Args:
        q: [B, Lq, H, D].
        k, v: [B, Lk, H, D]; positions outside the plan may hold anything, NaN included.
        plan: key ranges per head.

    Returns:
        [B, Lq, H, D] in q's dtype.
    """
    allowed = torch.zeros(plan.heads, k.shape[1], dtype=torch.bool, device=q.device)
    for head, ranges in enumerate(plan.ranges):
        for start, end in ranges:
            allowed[head, start:end] = True
    seen = allowed.T[None, :, :, None]
    keys = torch.where(seen, k, 0).float()
    values = torch.where(seen, v, 0).float()
    logits = torch.einsum("bqhd,bkhd->bhqk", q.float(), keys) * q.shape[-1] ** -0.5
    if plan.bias is not None:
        logits = logits + torch.where(allowed, plan.bias.float(), 0)[None, :, None]
    logits = logits.masked_fill(~allowed[None, :, None], float("-inf"))
    # Not nan_to_num: it would also turn a key that overflowed into zeros.
    nothing = ~allowed.any(dim=1)[None, :, None, None]
    weights = logits.softmax(dim=-1).masked_fill(nothing, 0.0)
    return torch.einsum("bhqk,bkhd->bqhd", weights, values).to(q.dtype)
