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

Dense = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q [B, Lq, H, D], k and v [B, Lk, H, D] -> [B, Lq, H, D]: every query reads every key."""

Backend = Callable[[Tensor, Tensor, Tensor, ReadPlan, Dense], Tensor]

_forced: str | None = None
_announced: set[str] = set()


def attend_densely(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's own fused attention in the layout of `Dense`."""
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan, dense: Dense = attend_densely) -> Tensor:
    """Attention of every head over its own key ranges.

    Args:
        q: queries [B, Lq, H, D].
        k, v: keys and values [B, Lk, H, D]; may be larger than what is read, unread positions may be
            uninitialised.
        plan: ranges per head, `plan.heads == H`.
        dense: what runs a group of heads that read the same keys; a host may bring its own.

    Returns:
        [B, Lq, H, D], dtype of q; zeros for heads that read nothing.
    """
    if plan.heads != q.shape[2]:
        raise ValueError(f"the plan is for {plan.heads} heads but q has {q.shape[2]}")
    name = _forced or _choose(plan)
    _announce(name)
    return _BACKENDS[name](q, k, v, plan, dense)


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


def _grouped(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan, dense: Dense) -> Tensor:
    """One dense call for each set of heads that read the same contiguous keys."""
    groups = plan.heads_by_ranges()
    if len(groups) == 1:
        return _read(q, k, v, plan.ranges[0], dense)
    out = torch.empty_like(q)
    for ranges, heads in groups.items():
        out[:, :, heads] = _read(q[:, :, heads], k[:, :, heads], v[:, :, heads], ranges, dense)
    return out


def _read(q: Tensor, k: Tensor, v: Tensor, ranges: Ranges, dense: Dense) -> Tensor:
    if not ranges:
        return torch.zeros_like(q)
    if len(ranges) > 1:
        raise ValueError("the grouped back end reads one contiguous range a head")
    start, end = ranges[0]
    return dense(q, k[:, start:end], v[:, start:end])


def _by_reference(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan, dense: Dense) -> Tensor:
    return attend_reference(q, k, v, plan)


_BACKENDS: dict[str, Backend] = {"grouped": _grouped, "reference": _by_reference}
