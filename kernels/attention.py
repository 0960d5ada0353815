"""`attend`: the one attention primitive, and the choice of its back end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .plan import Ranges, ReadPlan
from .reference import attend_reference

logger = logging.getLogger("dummy_forcing")

Backend = Callable[[Tensor, Tensor, Tensor, ReadPlan], Tensor]

_forced: str | None = None
_announced: set[str] = set()


def attend(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan) -> Tensor:
    """Attention of every head over its own key ranges.

    Args:
        q: queries [B, Lq, H, D].
        k, v: keys and values [B, Lk, H, D]; may be larger than what is read, unread positions may be
            uninitialised.
        plan: ranges per head, `plan.heads == H`.

    Returns:
        [B, Lq, H, D], dtype of q; zeros for heads that read nothing.
    """
    if plan.heads != q.shape[2]:
        raise ValueError(f"the plan is for {plan.heads} heads but q has {q.shape[2]}")
    name = _forced or _choose(plan)
    _announce(name)
    return _BACKENDS[name](q, k, v, plan)


@contextlib.contextmanager
def force_backend(name: str) -> Iterator[None]:
    """Use one named back end inside the block; for tests and benchmarks."""
    global _forced
    if name not in _BACKENDS:
        raise ValueError(f"unknown attention back end '{name}'; there are {', '.join(_BACKENDS)}")
    previous, _forced = _forced, name
    try:
        yield
    finally:
        _forced = previous


def _choose(plan: ReadPlan) -> str:
    contiguous = all(len(ranges) <= 1 for ranges in plan.ranges)
    return "grouped" if contiguous and plan.bias is None else "reference"


def _announce(name: str) -> None:
    if name not in _announced:
        _announced.add(name)
        logger.info("attention back end: %s", name)


def _grouped(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan) -> Tensor:
    """One dense SDPA call for each set of heads that read the same contiguous keys."""
    groups = plan.heads_by_ranges()
    if len(groups) == 1:
        return _dense(q, k, v, plan.ranges[0])
    out = torch.empty_like(q)
    for ranges, heads in groups.items():
        out[:, :, heads] = _dense(q[:, :, heads], k[:, :, heads], v[:, :, heads], ranges)
    return out


def _dense(q: Tensor, k: Tensor, v: Tensor, ranges: Ranges) -> Tensor:
    if not ranges:
        return torch.zeros_like(q)
    if len(ranges) > 1:
        raise ValueError("the grouped back end reads one contiguous range a head")
    start, end = ranges[0]
    keys, values = k[:, start:end].transpose(1, 2), v[:, start:end].transpose(1, 2)
    return F.scaled_dot_product_attention(q.transpose(1, 2), keys, values).transpose(1, 2)


_BACKENDS: dict[str, Backend] = {"grouped": _grouped, "reference": attend_reference}
