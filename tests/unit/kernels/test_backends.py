"""Every back end against the reference: fresh random inputs, drawn plans, poisoned memory, real lengths."""

import contextlib
import math

import pytest
import torch
from attention_cases import KEYS, TOLERANCE, TRITON, attend_by_loops, biases, block_plans, poison, qkv, ragged_plans
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.kernels import BlockPlan, ReadPlan, attend, force_backend

INTERPRETED = pytest.param("triton", marks=TRITON)
PLAIN = ["grouped", "varlen", INTERPRETED, "flex"]
BIASED = ["grouped", INTERPRETED, "flex"]
QUERIES = 37
SEEDS = st.integers(0, 9999)
DTYPES = st.sampled_from(list(TOLERANCE))
few = settings(deadline=None, max_examples=10)


@contextlib.contextmanager
def poisoned_memory():
    """`torch.empty` gives NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(9).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def check(name, q, k, v, plan, tolerance=None):
    """One back end equals the reference where NaN lies at every key that no query reads, and in fresh memory."""
    k, v = poison(k, plan), poison(v, plan)
    with force_backend("reference"):
        reference = attend(q, k, v, plan)
    with force_backend(name), poisoned_memory():
        found = attend(q, k, v, plan)
    tolerance = tolerance or TOLERANCE[q.dtype]
    assert found.dtype == q.dtype
    torch.testing.assert_close(found, reference, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", PLAIN)
@given(plan=ragged_plans(), seed=SEEDS, dtype=DTYPES)
@few
def test_ragged_ranges(name, plan, seed, dtype):
    check(name, *qkv(plan.heads, seed, queries=QUERIES, batch=1, dtype=dtype), plan)


@pytest.mark.parametrize("name", BIASED)
@given(plan=ragged_plans(), seed=SEEDS, dtype=DTYPES)
@few
def test_ragged_ranges_with_a_bias(name, plan, seed, dtype):
    plan = ReadPlan(plan.ranges, biases(plan, seed=seed))
    # dense calls take a bias in the dtype of the queries
    check(name, *qkv(plan.heads, seed, queries=QUERIES, batch=1, dtype=dtype), plan)


@pytest.mark.parametrize("name", BIASED)
@given(plan=block_plans(QUERIES), seed=SEEDS, biased=st.booleans())
@few
def test_ranges_of_query_blocks(name, plan, seed, biased):
    if biased:
        bias = biases(plan, seed=seed)
        plan = BlockPlan(plan.offsets, plan.ranges, plan.heads, plan.block_q, bias)
    check(name, *qkv(plan.heads, seed, queries=QUERIES, batch=1), plan)


@given(plan=block_plans(9), seed=SEEDS, biased=st.booleans())
@settings(deadline=None, max_examples=25)
def test_the_reference_itself_on_query_blocks(plan, seed, biased):
    if biased:
        plan = BlockPlan(plan.offsets, plan.ranges, plan.heads, plan.block_q, biases(plan, seed=seed))
    q, k, v = qkv(plan.heads, seed, queries=9)
    with force_backend("reference"):
        found = attend(q, poison(k, plan), poison(v, plan), plan)
    torch.testing.assert_close(found, attend_by_loops(q, k, v, plan), atol=1e-5, rtol=1e-5)


FRAME = 1560
HISTORY = ((0, FRAME), (FRAME + 700, 2 * FRAME + 1), (4679, 4680))  # a frame, no multiple of anything, one key


@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("name", PLAIN)
def test_lengths_of_real_videos(name, head_dim):
    """Frames of 1560 tokens, three of them held."""
    if head_dim == 128 and name == "flex":
        pytest.skip("eager FlexAttention is slow and knows no tiles")
    q, k, v = qkv(2, queries=100, keys=3 * FRAME, batch=1, head_dim=head_dim)
    check(name, q, k, v, ReadPlan((HISTORY, ((0, 3 * FRAME),))))


@TRITON
def test_a_frame_of_queries():
    """1560 queries in blocks of a whole frame and of 96, which divides nothing."""
    q, k, v = qkv(1, queries=FRAME, keys=400, batch=1, head_dim=32)
    check("triton", q, k, v, ReadPlan((((3, 130), (131, 132)),)))
    blocks = -(-FRAME // 96)
    table = torch.randint(0, 4, (1, blocks, 1), generator=torch.Generator().manual_seed(0))
    edges = torch.tensor([[0, 100], [100, 101], [101, 257], [257, 400]], dtype=torch.int32)
    check("triton", q, k, v, BlockPlan.from_table(table, edges, 96))


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("head_dim", [16, 32, 256])
def test_head_dims_and_half_precision(name, head_dim):
    plan = ReadPlan((((0, 9), (11, 24)), ((4, 5),)))
    for dtype in (torch.float16, torch.bfloat16):
        check(name, *qkv(2, head_dim=head_dim, dtype=dtype), plan, 1e-2)


@pytest.mark.parametrize("name", PLAIN)
def test_views_of_larger_tensors(name):
    """Queries cut out of a fused projection, keys out of a store with more heads, channels apart, heads first."""
    plan = ReadPlan((((0, 9), (11, 24)), ((4, 5),)))
    fused = torch.randn(2, 5, 3, 2, 16)
    store = torch.randn(2, 40, 6, 16)
    for views in (
        (fused[:, :, 1], store[:, 7:31, 0:4:2], store[:, 9:33, 1:5:2]),
        [x.repeat_interleave(2, dim=-1)[..., ::2] for x in qkv(2)],
        [x.transpose(1, 2).contiguous().transpose(1, 2) for x in qkv(2)],
    ):
        with force_backend(name):
            found = attend(*views, plan)
        with force_backend("reference"):
            expected = attend(*(x.contiguous() for x in views), plan)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_what_reads_nothing_is_zero_in_fresh_memory(name):
    plan = ReadPlan(((), ((0, 9),), ()))
    q, k, v = qkv(3, queries=QUERIES)
    with force_backend(name), poisoned_memory():
        found = attend(q, poison(k, plan), poison(v, plan), plan)
    assert torch.equal(found[:, :, ::2], torch.zeros_like(found[:, :, ::2]))
    assert found[:, :, 1].isfinite().all()


@pytest.mark.parametrize("name", BIASED)
def test_a_bias_of_minus_infinity_takes_a_key_out(name):
    q, k, v = qkv(2)
    bias = torch.zeros(2, KEYS)
    bias[0, :20], bias[1] = -math.inf, -math.inf
    plan = ReadPlan.prefix(2, KEYS)
    with force_backend(name):
        found = attend(q, k, v, ReadPlan(plan.ranges, bias))
        without = attend(q, k, v, ReadPlan((((20, KEYS),), ()), torch.zeros_like(bias)))
    torch.testing.assert_close(found, without, atol=1e-5, rtol=1e-5)
    assert torch.equal(found[:, :, 1], torch.zeros_like(found[:, :, 1]))


@TRITON
def test_keys_farther_apart_than_32_bits_count():
    """A long history: the store has more than 2^31 elements; only pages that are touched become memory."""
    step = 2**31 // 8 + 16
    store = torch.empty(9 * step, dtype=torch.float16)
    k, v = (torch.as_strided(store, (1, 9, 1, 16), (9 * step, step, step, 1), offset) for offset in (0, 16))
    q, near_k, near_v = qkv(1, keys=9, batch=1, dtype=torch.float16)
    k.copy_(near_k), v.copy_(near_v)
    plan = ReadPlan((((0, 2), (7, 9)),))
    with force_backend("triton"):
        far, near = attend(q, k, v, plan), attend(q, near_k, near_v, plan)
    assert torch.equal(far, near)


def test_all_back_ends_take_no_queries_and_no_keys():
    q, k, v = qkv(2)
    assert attend(q[:, :0], k, v, ReadPlan.prefix(2, 4)).shape == (2, 0, 2, 16)
    assert torch.equal(attend(q, k[:, :0], v[:, :0], ReadPlan.prefix(2, 0)), torch.zeros_like(q))
