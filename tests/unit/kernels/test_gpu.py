"""Back ends on a CUDA device: those that are there equal the reference; nothing waits for the device."""

import logging

import pytest
import torch
from attention_cases import TRITON, qkv

from dummy_forcing.kernels import (
    Affine,
    BlockPlan,
    HeadTarget,
    Modulation,
    NormRope,
    QKNorm,
    ReadPlan,
    attend,
    attend_densely,
    force_backend,
    force_elementwise,
    forget_choices,
    place_heads,
    residual_norm,
)
from dummy_forcing.kernels.dense_attention import DENSE
from dummy_forcing.kernels.varlen import VARLEN

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

FRAME = 1560
KEYS = 3 * FRAME
RANGES = (((0, FRAME), (FRAME + 700, 2 * FRAME + 1), (KEYS - 1, KEYS)), ((0, KEYS),), ())
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-2}


def on_gpu(dtype, head_dim, heads=3, queries=FRAME):
    tensors = qkv(heads, queries=queries, keys=KEYS, batch=1, head_dim=head_dim, dtype=dtype)
    return [x.cuda() for x in tensors]


def block_plan(queries=FRAME, block_q=64, heads=3):
    """Ten of the key blocks of 64 for each query block; the last of a frame has 24 keys."""
    starts = [frame * FRAME + at for frame in range(3) for at in range(0, FRAME, 64)]
    edges = [[start, min(start + 64, (start // FRAME + 1) * FRAME)] for start in starts]
    blocks = -(-queries // block_q)
    table = torch.rand(heads, blocks, len(edges), device="cuda").topk(10).indices
    return BlockPlan.from_table(table, torch.tensor(edges, dtype=torch.int32).cuda(), block_q, block_k=64)


def check(name, q, k, v, plan):
    with force_backend("reference"):
        expected = attend(q, k, v, plan)
    with force_backend(name):
        found = attend(q, k, v, plan)
    torch.testing.assert_close(found, expected, atol=TOLERANCE[q.dtype], rtol=TOLERANCE[q.dtype])


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("name", ["grouped", "varlen", pytest.param("triton", marks=TRITON), "flex"])
def test_plans_per_head(name, head_dim, dtype):
    q, k, v = on_gpu(dtype, head_dim)
    check(name, q, k, v, ReadPlan(RANGES))
    if name != "varlen":
        bias = torch.randn(3, KEYS, device="cuda")
        check(name, q, k, v, ReadPlan(RANGES, bias))


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("name", [pytest.param("triton", marks=TRITON), "flex"])
def test_plans_per_query_block(name, head_dim, dtype):
    check(name, *on_gpu(dtype, head_dim), block_plan())


@pytest.mark.parametrize("name", [name for name in DENSE.table if name != "sage"])
def test_dense_libraries(name):
    q, k, v = on_gpu(torch.bfloat16, 128)
    if not DENSE.can_run(name, q, k, v):
        pytest.skip(f"{name} is not here")
    check(name, q, k, v, ReadPlan.prefix(3, KEYS - 7))


@pytest.mark.parametrize("name", list(VARLEN.table))
def test_variable_length_libraries(name):
    q, k, v = on_gpu(torch.bfloat16, 128)
    if not VARLEN.can_run(name, q):
        pytest.skip(f"{name} is not here")
    plan = ReadPlan(RANGES)
    with force_backend("reference"):
        expected = attend(q, k, v, plan)
    with force_backend(name):  # a name of both kinds pins dense calls and packed ones
        from dummy_forcing.kernels.varlen import attend_varlen

        found = attend_varlen(q, k, v, plan, attend_densely)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)


def test_the_fastest_is_measured_and_said(caplog):
    caplog.set_level(logging.INFO, logger="dummy_forcing")
    forget_choices()
    q, k, v = on_gpu(torch.bfloat16, 128)
    for plan in (ReadPlan.prefix(3, KEYS), ReadPlan(RANGES), block_plan()):
        with force_backend("reference"):
            expected = attend(q, k, v, plan)
        for _ in range(2):
            torch.testing.assert_close(attend(q, k, v, plan), expected, atol=1e-2, rtol=1e-2)
    assert any("fastest of" in record.getMessage() for record in caplog.records)


@TRITON
def test_a_settled_choice_does_not_wait_for_the_device():
    q, k, v = on_gpu(torch.bfloat16, 128)
    plans = [ReadPlan.prefix(3, KEYS), ReadPlan(RANGES), block_plan()]
    for plan in plans:
        attend(q, k, v, plan)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for plan in plans:
            attend(q, k, v, plan)
        block_plan_again = BlockPlan(plans[2].offsets, plans[2].ranges, 3, 64, keys_per_range=64)
        attend(q, k, v, block_plan_again)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@TRITON
def test_a_graph_is_captured_once_the_choice_is_settled():
    q, k, v = on_gpu(torch.bfloat16, 128)
    plan = block_plan()
    expected = attend(q, k, v, plan)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = attend(q, k, v, plan)
    graph.replay()
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)


def elementwise(dtype, heads=12, head_dim=128, tokens=FRAME):
    """All that elementwise back ends compute, at the width of Wan 1.3B, in fresh memory full of NaN."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, tokens, heads, head_dim).to(dtype).cuda().unbind(0)
    angles = torch.randn(tokens, 1, head_dim // 2).cuda()
    norms = (QKNorm(gain.to(dtype).cuda(), 1e-6) for gain in torch.randn(2, heads * head_dim))
    norm_rope = NormRope(torch.polar(torch.ones_like(angles), angles), *norms)
    groups = ((0, 2, 3, 7, 8, 11), (1, 4, 5, 6, 9, 10))
    stores = [torch.full((2, 2, 2 * tokens, 6, head_dim), torch.nan, dtype=dtype).cuda() for _ in groups]
    targets = [HeadTarget(g, *store[:, :, 100 : 100 + tokens]) for g, store in zip(groups, stores, strict=True)]
    six = torch.randn(2, 3, 6, heads * head_dim).to(dtype).cuda().unbind(2)
    x, update = q.flatten(2), k.flatten(2)
    return [
        *place_heads(q, k, v, targets, norm_rope),
        *(part for target in targets for part in (target.k, target.v)),
        *residual_norm(x, update, six[2], 1e-6, Modulation(six[0], six[1])),
        *residual_norm(x, update, six[2], 1e-6, Affine(six[3][0, 0], six[4][0, 0])),
    ]


@TRITON
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_fused_elementwise_work(dtype):
    with force_elementwise("torch"):
        expected = elementwise(dtype)
    with force_elementwise("fused"):
        found = elementwise(dtype)
    for plain, fused in zip(expected, found, strict=True):
        largest = max(1.0, plain.abs().max().item())  # a shift may cancel what has been rounded before
        torch.testing.assert_close(fused, plain, atol=TOLERANCE[dtype] * largest, rtol=TOLERANCE[dtype])
