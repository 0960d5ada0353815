"""Plans and tensors for tests of attention, and attention spelled out."""

import importlib.util
import math

import pytest
import torch
from hypothesis import strategies as st

from dummy_forcing.kernels import BlockPlan, ReadPlan

KEYS = 24
TRITON = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


@st.composite
def ranges_of_a_head(draw, keys=KEYS, most=3):
    """Sorted, disjoint, perhaps touching, perhaps none."""
    edges = sorted(draw(st.sets(st.integers(0, keys), max_size=2 * most)))
    return tuple(zip(edges[0::2], edges[1::2], strict=False))


@st.composite
def contiguous_plans(draw):
    """One range or none for each of 1 to 6 heads."""
    edge = st.integers(0, KEYS)
    pairs = draw(st.lists(st.tuples(edge, edge).map(sorted), min_size=1, max_size=6))
    return ReadPlan(tuple(((start, end),) if end > start else () for start, end in pairs))


@st.composite
def ragged_plans(draw, keys=KEYS):
    """Any number of disjoint ranges a head."""
    return ReadPlan(tuple(draw(st.lists(ranges_of_a_head(keys), min_size=1, max_size=4))))


@st.composite
def block_plans(draw, queries, keys=KEYS):
    """Ranges per head and query block, in any order, some of them empty or beyond the keys."""
    heads, block_q = draw(st.integers(1, 3)), draw(st.integers(1, queries + 2))
    offsets, pairs = [0], []
    for _ in range(heads * -(-queries // block_q)):
        row = list(draw(ranges_of_a_head(keys)))
        if row and draw(st.booleans()):
            row[-1] = (row[-1][0], keys + 9)
        if draw(st.booleans()):
            row.insert(0, (5, 5))
        pairs += draw(st.permutations(row))
        offsets.append(len(pairs))
    ranges = torch.tensor(pairs, dtype=torch.int32).reshape(-1, 2)
    return BlockPlan(torch.tensor(offsets, dtype=torch.int32), ranges, heads, block_q)


def qkv(heads, seed=0, *, queries=5, keys=KEYS, batch=2, head_dim=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    sizes = ((batch, queries, heads, head_dim), (batch, keys, heads, head_dim), (batch, keys, heads, head_dim))
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes]


def biases(plan, keys=KEYS, seed=0):
    """The plan with a random bias; unread keys have NaN."""
    bias = torch.randn(plan.heads, keys, generator=torch.Generator().manual_seed(seed))
    return bias.masked_fill(~read(plan, keys), math.nan)


def read(plan, keys):
    """Keys that some query of a head reads: bool [heads, keys]."""
    if isinstance(plan, BlockPlan):
        return plan.allowed(keys).any(dim=1)
    found = torch.zeros(plan.heads, keys, dtype=torch.bool)
    for head, ranges in enumerate(plan.ranges):
        for start, end in ranges:
            found[head, start:end] = True
    return found


def poison(tensor, plan):
    """NaN wherever no query of a head may look."""
    unread = ~read(plan, tensor.shape[1])
    return tensor.masked_fill(unread.T[None, :, :, None], math.nan)


def attend_by_loops(q, k, v, plan):
    """Softmax attention, one query at a time, over the gathered keys."""
    out = torch.zeros_like(q)
    for head in range(plan.heads):
        for query in range(q.shape[1]):
            chosen = _chosen(plan, head, query, k.shape[1])
            for item in range(q.shape[0]) if chosen else ():
                logits = k[item, chosen, head] @ q[item, query, head] / math.sqrt(q.shape[-1])
                if plan.bias is not None:
                    logits = logits + plan.bias[head, chosen]
                out[item, query, head] = logits.softmax(0) @ v[item, chosen, head]
    return out


def _chosen(plan, head, query, keys):
    if isinstance(plan, ReadPlan):
        ranges = plan.ranges[head]
    else:
        row = head * plan.query_blocks + query // plan.block_q
        ranges = plan.ranges[plan.offsets[row] : plan.offsets[row + 1]].tolist()
    return [key for start, end in ranges for key in range(start, min(end, keys))]
