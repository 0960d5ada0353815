"""`attend` against the masked reference, and the reference against a loop over single queries."""

import itertools
import math

import pytest
import torch
from attention_cases import (
    KEYS,
    TOLERANCE,
    TRITON,
    attend_by_loops,
    biases,
    contiguous_plans,
    poison,
    qkv,
    ragged_plans,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.kernels import ReadPlan, attend, force_backend, head_index

NAMES = ["grouped", "varlen", pytest.param("triton", marks=TRITON), "flex", "reference"]


@given(plan=contiguous_plans(), seed=st.integers(0, 999), dtype=st.sampled_from(list(TOLERANCE)))
@settings(deadline=None, max_examples=60)
def test_grouped_equals_reference(plan, seed, dtype):
    q, k, v = qkv(plan.heads, seed, dtype=dtype)
    k, v = poison(k, plan), poison(v, plan)
    with force_backend("grouped"):
        grouped = attend(q, k, v, plan)
    with force_backend("reference"):
        reference = attend(q, k, v, plan)
    assert grouped.dtype == reference.dtype == dtype
    torch.testing.assert_close(grouped, reference, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@given(plan=ragged_plans(), seed=st.integers(0, 999), biased=st.booleans())
@settings(deadline=None, max_examples=40)
def test_attend_equals_attention_one_query_at_a_time(plan, seed, biased):
    """Whatever back end is chosen; disjoint ranges and biases included."""
    q, k, v = qkv(plan.heads, seed, queries=3)
    if biased:
        plan = ReadPlan(plan.ranges, biases(plan, seed=seed))
    found = attend(q, poison(k, plan), poison(v, plan), plan)
    torch.testing.assert_close(found, attend_by_loops(q, k, v, plan), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_heads_that_read_nothing_give_zeros(name):
    q, k, v = qkv(3)
    plan = ReadPlan(((), ((0, 4),), ()))
    with force_backend(name):
        out = attend(q, torch.full_like(k, math.nan), v, ReadPlan.prefix(3, 0))
        mixed = attend(q, k, v, plan)
    assert torch.equal(out, torch.zeros_like(q))
    assert torch.equal(mixed[:, :, [0, 2]], torch.zeros_like(q[:, :, [0, 2]]))
    assert mixed[:, :, 1].abs().min() > 0


@pytest.mark.parametrize("name", NAMES)
def test_one_key_gives_its_value(name):
    q, k, v = qkv(2)
    with force_backend(name):
        out = attend(q, k, v, ReadPlan((((7, 8),), ((0, 1),))))
    torch.testing.assert_close(out[:, :, 0], v[:, 7, 0].unsqueeze(1).expand(-1, 5, -1))
    torch.testing.assert_close(out[:, :, 1], v[:, 0, 1].unsqueeze(1).expand(-1, 5, -1))


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_key_that_is_read_shows_in_the_output(name):
    """An overflow must not be mistaken for a head that reads nothing."""
    q, k, v = qkv(1)
    k[:, 3] = math.nan
    with force_backend(name):
        assert attend(q, k, v, ReadPlan.prefix(1, KEYS)).isnan().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_large_unread_region_is_not_touched(name):
    plan = ReadPlan((((16, 24),), ((0, 8),), ((16, 24),)))
    q, k, v = qkv(3, keys=KEYS)
    wide_k, wide_v = (torch.cat([poison(x, plan), x.new_full((2, 5000, 3, 16), math.nan)], 1) for x in (k, v))
    with force_backend(name):
        out = attend(q, wide_k, wide_v, plan)
    torch.testing.assert_close(out, attend_by_loops(q, k, v, plan), atol=1e-5, rtol=1e-5)


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=5), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_duplicate_keys_equal_one_key_with_the_log_of_their_number_as_bias(counts, seed):
    """FAST-AR, Lemma 5.1: the ground of merging keys without retraining."""
    heads, distinct = 2, len(counts)
    q, k, v = qkv(heads, seed, keys=distinct)
    repeats = torch.tensor(counts)
    bias = repeats.float().log().expand(heads, distinct)
    merged = attend(q, k, v, ReadPlan(ReadPlan.prefix(heads, distinct).ranges, bias))
    duplicates = [x.repeat_interleave(repeats, dim=1) for x in (k, v)]
    spelled_out = attend(q, *duplicates, ReadPlan.prefix(heads, sum(counts)))
    torch.testing.assert_close(merged, spelled_out, atol=1e-5, rtol=1e-5)


def test_a_bias_on_unread_keys_is_ignored_even_if_it_is_not_finite():
    q, k, v = qkv(1)
    bias = torch.full((1, KEYS), math.nan)
    bias[:, :4] = 0
    plain = attend(q, k, v, ReadPlan.prefix(1, 4))
    torch.testing.assert_close(attend(q, k, v, ReadPlan(((((0, 4),)),), bias)), plain, atol=1e-5, rtol=1e-5)


def test_force_backend_is_undone_also_after_an_error_and_nests():
    q, k, v = qkv(1)
    biased = ReadPlan((((0, 2), (4, 6)),), torch.zeros(1, KEYS))
    with force_backend("varlen"):
        with force_backend("reference"):
            attend(q, k, v, biased)
        with pytest.raises(ValueError, match="'varlen' cannot run this call; it needs ranges per head and no bias"):
            attend(q, k, v, biased)
    assert attend(q, k, v, biased).shape == q.shape
    with pytest.raises(ValueError, match="unknown attention back end 'magic'"), force_backend("magic"):
        pass


def test_a_plan_for_other_heads_is_refused():
    q, k, v = qkv(3)
    with pytest.raises(ValueError, match="plan is for 2 heads but q has 3"):
        attend(q, k, v, ReadPlan.prefix(2, 4))


def test_what_does_not_fit_together_is_refused():
    """A kernel would read beyond the tensors."""
    q, k, v = qkv(3)
    with pytest.raises(ValueError, match=f"reads up to key {KEYS + 1} but there are {KEYS}"):
        attend(q, k, v, ReadPlan.prefix(3, KEYS + 1))
    with pytest.raises(ValueError, match="do not fit together"):
        attend(q, k, v[:, 1:], ReadPlan.prefix(3, 4))
    with pytest.raises(ValueError, match="do not fit together"):
        attend(q[:1], k, v, ReadPlan.prefix(3, 4))
    with pytest.raises(ValueError, match=r"bias must have shape \[2, at least 4\], got \[2, 3\]"):
        ReadPlan(ReadPlan.prefix(2, 4).ranges, torch.zeros(2, 3))


@pytest.mark.parametrize(
    "ranges",
    [((3, 3),), ((4, 2),), ((-1, 2),), ((4, 6), (0, 2)), ((0, 4), (3, 6)), ((0, 2), (2, 2))],
)
def test_invalid_ranges_are_refused(ranges):
    with pytest.raises(ValueError, match="sorted, disjoint and non-empty"):
        ReadPlan((((0, 1),), ranges))


def test_touching_ranges_are_valid():
    plan = ReadPlan((((0, 2), (2, 5)),))
    q, k, v = qkv(1)
    torch.testing.assert_close(attend(q, k, v, plan), attend(q, k, v, ReadPlan.prefix(1, 5)))


def test_plan_arithmetic():
    assert ReadPlan.prefix(3, 7) == ReadPlan((((0, 7),),) * 3)
    assert ReadPlan.prefix(2, 0).ranges == ((), ())
    plan = ReadPlan((((0, 4), (6, 7)), (), ((0, 4), (6, 7)), ((0, 4),)))
    assert plan.heads == 4
    assert plan.keys_read == 5 + 0 + 5 + 4
    assert plan.span == 7
    assert plan.groups == {((0, 4), (6, 7)): [0, 2], (): [1], ((0, 4),): [3]}
    assert list(plan.groups) == [((0, 4), (6, 7)), (), ((0, 4),)]
    assert ReadPlan((((0, 2), (2, 5)), ((0, 5),))).groups == {((0, 5),): [0, 1]}, "touching ranges are one"


def test_dense_calls_serve_shared_ranges_and_single_ones():
    assert ReadPlan.prefix(3, 7).dense
    assert ReadPlan((((0, 4), (6, 7)),) * 2).dense
    assert ReadPlan((((0, 4),), ((6, 7),), ())).dense
    assert not ReadPlan((((0, 4), (6, 7)), ((0, 4),))).dense
    assert not ReadPlan(ReadPlan.prefix(2, 4).ranges, torch.zeros(2, 4)).dense


def test_a_plan_for_all_heads_is_made_once():
    assert ReadPlan.shared(3, ((0, 4), (6, 7))) is ReadPlan.shared(3, ((0, 4), (6, 7)))
    assert ReadPlan.shared(2, ((0, 4),)) == ReadPlan.prefix(2, 4)


@given(heads=st.lists(st.integers(0, 11), min_size=1, max_size=12, unique=True))
@settings(deadline=None, max_examples=60)
def test_an_index_of_heads_is_a_view_where_it_can_be(heads):
    x = torch.arange(12.0).expand(1, 2, 12)
    index = head_index(tuple(heads), x.device)
    assert x[:, :, index][0, 0].tolist() == heads
    gaps = {after - before for before, after in itertools.pairwise(heads)}
    assert isinstance(index, slice) == (len(gaps) == 0 or (len(gaps) == 1 and min(gaps) > 0))
