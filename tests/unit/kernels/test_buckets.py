"""Sorting by bucket and the plans that follow from it, against literal loops."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.kernels.buckets import Buckets, in_blocks, keys_visited, visiting_plan


@st.composite
def sorted_keys(draw):
    """Codes [H, N] of keys, some in no bucket, and how many buckets there are."""
    heads, keys, buckets = draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(st.integers(1, 6))
    row = st.lists(st.integers(0, buckets), min_size=keys, max_size=keys)
    return torch.tensor(draw(st.lists(row, min_size=heads, max_size=heads))), buckets


@st.composite
def visited(draw):
    """The same, with buckets that blocks visit [H, blocks, C] and keys of the own chunk."""
    codes, buckets = draw(sorted_keys())
    blocks = draw(st.integers(1, 3))
    flat = draw(st.lists(st.booleans(), min_size=codes.shape[0] * blocks * buckets, max_size=100))
    visits = torch.tensor(flat[: codes.shape[0] * blocks * buckets]).view(codes.shape[0], blocks, buckets)
    return codes, buckets, visits, draw(st.integers(1, 5))


@settings(deadline=None)
@given(sorted_keys())
def test_keys_are_in_the_order_of_their_buckets(drawn):
    codes, buckets = drawn
    found = Buckets.of(codes, buckets)
    for head, row in enumerate(codes.tolist()):
        expected = [key for bucket in range(buckets + 1) for key, code in enumerate(row) if code == bucket]
        assert found.order[head].tolist() == expected
        for bucket in range(buckets):
            start, end = found.edges[head, bucket : bucket + 2].tolist()
            assert found.order[head, start:end].tolist() == [k for k, code in enumerate(row) if code == bucket]


@settings(deadline=None)
@given(visited())
def test_blocks_read_their_buckets_and_the_own_chunk(drawn):
    codes, buckets, visits, own = drawn
    found, keys = Buckets.of(codes, buckets), codes.shape[1]
    plan = visiting_plan(visits, found.edges, (keys, keys + own), 4)
    allowed = plan.allowed(keys + own)
    for head, blocks in enumerate(visits.tolist()):
        for block, wanted in enumerate(blocks):
            read = [found.order[head, place].item() for place in range(keys) if allowed[head, block, place]]
            assert sorted(read) == [k for k, code in enumerate(codes[head].tolist()) if [*wanted, False][code]]
            assert allowed[head, block, keys:].all()
    sizes = found.edges.diff(dim=1)
    assert keys_visited(visits, sizes, own).tolist() == allowed.sum(-1).tolist()


@settings(deadline=None)
@given(visited())
def test_buckets_side_by_side_are_one_range(drawn):
    codes, buckets, visits, own = drawn
    keys = codes.shape[1]
    plan = visiting_plan(visits, Buckets.of(codes, buckets).edges, (keys, keys + own), 4)
    starts, ends = plan.ranges.unbind(1)
    counts = plan.offsets.diff()
    assert (counts <= 1 + (buckets + 1) // 2).all()
    assert (starts < ends)[: plan.offsets[-1]].all() and not plan.ranges[plan.offsets[-1] :].any()


def test_rows_go_into_blocks_in_an_order():
    x = torch.arange(10.0).view(1, 5, 2)
    blocks = in_blocks(x, torch.tensor([[4, 0, 3, 1, 2]]), 3)
    assert blocks[0, 0].tolist() == [[8, 9], [0, 1], [6, 7]]
    assert blocks[0, 1].tolist() == [[2, 3], [4, 5], [0, 0]]
