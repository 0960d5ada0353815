"""The masked attention that every other back end is tested against: slow, plain, fp32."""

from __future__ import annotations

import torch
from torch import Tensor

from .block_plan import BlockPlan
from .plan import ReadPlan


def attend_reference(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v over the planned keys; zeros where a query reads nothing.

    Args:
        q: [B, Lq, H, D].
        k, v: [B, Lk, H, D]; positions outside the plan may hold anything, NaN included.
        plan: key ranges per head, or per head and query block.

    Returns:
        [B, Lq, H, D] in q's dtype.
    """
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    for head in range(plan.heads):  # one at a time: the logits are the largest tensor
        out[:, :, head] = _attend_head(q[:, :, head], k[:, :, head], v[:, :, head], plan, head)
    return out


def _attend_head(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, head: int) -> Tensor:
    allowed = _allowed(plan, head, q.shape[1], k.shape[1], q.device)
    seen = allowed.any(dim=0)[None, :, None]
    logits = q.float() @ torch.where(seen, k, 0).float().mT * q.shape[-1] ** -0.5
    if plan.bias is not None:
        bias = plan.bias[head, : k.shape[1]].float()
        bias = torch.nn.functional.pad(bias, (0, k.shape[1] - bias.shape[0]))
        allowed = allowed & (bias != float("-inf"))
        logits = logits + torch.where(allowed, bias, 0)
    logits = logits.masked_fill(~allowed, float("-inf"))
    # Not nan_to_num, which would also hide keys that have overflowed.
    weights = logits.softmax(dim=-1).masked_fill(~allowed.any(dim=1, keepdim=True), 0.0)
    return (weights @ torch.where(seen, v, 0).float()).to(q.dtype)


def _allowed(plan: ReadPlan | BlockPlan, head: int, queries: int, keys: int, device: torch.device) -> Tensor:
    """Which keys each query of a head reads: bool [queries or 1, keys]."""
    if isinstance(plan, BlockPlan):
        return plan.allowed(keys)[head].repeat_interleave(plan.block_q, dim=0)[:queries]
    allowed = torch.zeros(1, keys, dtype=torch.bool, device=device)
    for start, end in plan.ranges[head]:
        allowed[:, start:end] = True
    return allowed
