"""Heads as sequences: heads that read different numbers of keys in one launch of variable-length attention."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from .dense_attention import DenseAttention, fits_flash
from .device import numbers_on
from .dispatch import Dispatcher, Implementation
from .heads import head_index
from .libraries import library
from .plan import Ranges, ReadPlan


def attend_varlen(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan, dense: DenseAttention) -> Tensor:
    """Packs queries [B*H*Lq, 1, D] and the keys that each head reads [sum, 1, D]; copies both once.

    Heads that read nothing stay out of the launch: libraries disagree on empty sequences.
    """
    batch, queries, _, dim = q.shape
    reading = [head for head, ranges in enumerate(plan.ranges) if ranges]
    index = head_index(tuple(reading), q.device)
    asking = q[:, :, index]
    packed_q = asking.transpose(1, 2).reshape(-1, 1, dim)
    sequences = tuple(plan.ranges[head] for head in reading) * batch
    starts_q, starts_k, longest = _starts(sequences, queries, q.device)
    places = [(item, head) for item in range(batch) for head in reading]
    packed_k, packed_v = (_packed(x, places, plan) for x in (k, v))
    kind = (q.dtype, dim, len(sequences), queries.bit_length(), longest.bit_length())
    args = (packed_q, packed_k, packed_v, starts_q, starts_k, queries, longest)
    out = VARLEN(kind, q.device, *args).view(batch, len(reading), queries, dim).transpose(1, 2)
    if len(reading) == plan.heads:
        return out
    whole = torch.zeros(q.shape, dtype=q.dtype, device=q.device)
    whole[:, :, index] = out
    return whole


def fits_varlen(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan, dense: DenseAttention) -> bool:
    """Only for ranges per head without a bias: a block plan's keys would have to be copied for each query block."""
    return isinstance(plan, ReadPlan) and plan.bias is None and plan.keys_read > 0


def wants_varlen(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan, dense: DenseAttention) -> bool:
    """Whether it competes: one group of heads is one dense call already, and without a library this is a loop."""
    several = isinstance(plan, ReadPlan) and len(plan.groups) > 1
    return several and any(VARLEN.can_run(name, q) for name in ("flash3", "flash2", "torch_varlen"))


def _packed(tensor: Tensor, places: list[tuple[int, int]], plan: ReadPlan) -> Tensor:
    parts = [tensor[item, start:end, head] for item, head in places for start, end in plan.ranges[head]]
    return torch.cat(parts).unsqueeze(1)


@lru_cache(maxsize=256)
def _starts(sequences: tuple[Ranges, ...], queries: int, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Where sequences start in the packed tensors, and the longest one's keys; kept, because copying takes time."""
    lengths = [sum(end - start for start, end in ranges) for ranges in sequences]
    starts_q = range(0, queries * len(sequences) + 1, queries)
    with torch.inference_mode(False):
        return (
            numbers_on(list(starts_q), torch.int32, device),
            numbers_on([0, *accumulate(lengths)], torch.int32, device),
            max(lengths),
        )


def _library(module: str, function: str):
    """A function of a library; the three libraries agree on its first seven arguments."""

    def run(*args) -> Tensor:
        out = getattr(library(module), function)(*args)
        return out[0] if isinstance(out, tuple) else out

    return run


def _one_by_one(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor, longest_q: int, longest_k: int
) -> Tensor:
    """A loop in place of a library."""
    out = torch.empty_like(q)
    spans = zip(pairwise(starts_q.tolist()), pairwise(starts_k.tolist()), strict=True)
    for (q0, q1), (k0, k1) in spans:
        parts = (x.transpose(0, 1)[None] for x in (q[q0:q1], k[k0:k1], v[k0:k1]))
        out[q0:q1] = F.scaled_dot_product_attention(*parts)[0].transpose(0, 1)
    return out


def _ampere(q: Tensor, *args) -> bool:
    return fits_flash(q, 8, 9, 10, 11, 12)


def _hopper(q: Tensor, *args) -> bool:
    return fits_flash(q, 9)


_HALF = "CUDA of compute capability 8.0 or newer, bf16 or fp16"

VARLEN = Dispatcher(
    "variable-length attention",
    [
        Implementation("flash3", _library("flash_attn_interface", "flash_attn_varlen_func"),
                       "flash-attn 3 and a Hopper GPU, bf16 or fp16", _hopper, library="flash_attn_interface"),
        Implementation("flash2", _library("flash_attn", "flash_attn_varlen_func"), f"flash-attn 2, {_HALF}",
                       _ampere, library="flash_attn"),
        Implementation("torch_varlen", _library("torch.nn.attention.varlen", "varlen_attn"),
                       f"torch 2.10 or newer, {_HALF}", _ampere, library="torch.nn.attention.varlen"),
        Implementation("sequences", _one_by_one, "nothing but torch", rank=1),
    ],
)  # fmt: skip
