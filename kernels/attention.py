"""`attend`: the one attention primitive, and its back ends."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from .block_plan import BlockPlan
from .dense_attention import DENSE, DenseAttention, attend_densely, attend_grouped, fits_grouped
from .dispatch import ATTENTION, Dispatcher, Implementation, bucket
from .flex import MODULE, attend_flex, fits_flex
from .plan import ReadPlan
from .range_sparse import NEEDS, attend_range_sparse, fits_range_sparse, wants_range_sparse
from .reference import attend_reference
from .varlen import VARLEN, attend_varlen, fits_varlen, wants_varlen


def attend(
    q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention = attend_densely
) -> Tensor:
    """Attention of every head, or every block of queries of it, over its own key ranges.

    Args:
        q: queries [B, Lq, H, D].
        k, v: keys and values [B, Lk, H, D]; may be larger than what is read, unread positions may be
            uninitialised.
        plan: key ranges, `plan.heads == H`.
        dense: the function that runs a group of heads that read the same keys. A host may give its own, which then
            runs every plan that dense calls can serve.

    Returns:
        [B, Lq, H, D], dtype of q; zeros for queries that read nothing.

    Raises:
        ValueError: plan and tensors do not fit.
    """
    _check(q, k, v, plan)
    if q.numel() == 0 or k.shape[1] == 0 or (isinstance(plan, ReadPlan) and plan.keys_read == 0):
        return torch.zeros_like(q)
    ATTENTION.check(NAMES)
    name, strict = ATTENTION.requested()
    if strict and name in DENSE.table:
        return attend_grouped(q, k, v, plan, attend_densely)
    asked = name in BACKENDS.table and (strict or BACKENDS.can_run(name, q, k, v, plan, dense))
    host = dense is not attend_densely
    if host and plan.dense and not asked:
        BACKENDS.say("grouped", "dense calls through the host's attention")
        return attend_grouped(q, k, v, plan, dense)
    kind = (q.dtype, k.dtype, q.shape[0], *q.shape[2:], bucket(q.shape[1]), type(plan), plan.signature, host)
    return BACKENDS(kind, q.device, q, k, v, plan, dense)


def force_backend(name: str) -> contextlib.AbstractContextManager[None]:
    """Use one named back end inside the block, for tests and benchmarks; calls it cannot run raise ValueError.

    The name of a dense attention (`sdpa`, `cudnn`, `flash2`, ...) stands for grouped calls through it.
    """
    return ATTENTION.forced(name, NAMES)


def backend_names() -> list[str]:
    """The names that `force_backend` and the environment variable accept."""
    return list(NAMES)


def _check(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan) -> None:
    if plan.heads != q.shape[2]:
        raise ValueError(f"the plan is for {plan.heads} heads but q has {q.shape[2]}")
    if k.shape != v.shape or (q.shape[0], *q.shape[2:]) != (k.shape[0], *k.shape[2:]):
        raise ValueError(f"q, k and v do not fit together: {list(q.shape)}, {list(k.shape)}, {list(v.shape)}")
    if isinstance(plan, ReadPlan) and plan.span > k.shape[1]:
        raise ValueError(f"the plan reads up to key {plan.span} but there are {k.shape[1]}")
    if isinstance(plan, BlockPlan) and plan.query_blocks != -(-q.shape[1] // plan.block_q):
        raise ValueError(f"{plan.query_blocks} blocks of {plan.block_q} do not make {q.shape[1]} queries")
    if isinstance(plan, BlockPlan) and plan.bias is not None and plan.bias.shape[1] < k.shape[1]:
        raise ValueError(f"the bias is for {plan.bias.shape[1]} keys but there are {k.shape[1]}")


def _by_reference(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention) -> Tensor:
    return attend_reference(q, k, v, plan)


BACKENDS = Dispatcher(
    "attention",
    [
        Implementation("grouped", attend_grouped, "key ranges that the host can read", fits_grouped),
        Implementation("varlen", attend_varlen, "ranges per head and no bias", fits_varlen, wants_varlen),
        Implementation("triton", attend_range_sparse, NEEDS, fits_range_sparse, wants_range_sparse,
                       library="triton"),
        Implementation("flex", attend_flex, "FlexAttention; on a GPU a head_dim that is a power of two", fits_flex,
                       library=MODULE, rank=1),
        Implementation("reference", _by_reference, "nothing but torch", rank=2),
    ],
)  # fmt: skip

NAMES = tuple(dict.fromkeys([*BACKENDS.table, *DENSE.table, *VARLEN.table]))
