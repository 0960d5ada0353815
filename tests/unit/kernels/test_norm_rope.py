"""Norm, RoPE and the write to the stores: every back end against fp64 arithmetic written out."""

import contextlib
import sys
from itertools import pairwise

import pytest
import torch
from attention_cases import TOLERANCE, TRITON
from elementwise_cases import EPS, NAMES, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.kernels import (
    HeadTarget,
    NormRope,
    QKNorm,
    force_elementwise,
    head_index,
    place_heads,
    put_heads,
)

few = settings(deadline=None, max_examples=15)


def case(seed, batch, tokens, heads, dim, dtype, *, norms=(True, True)):
    """Projected q, k, v and what they still need; q and k are views of a wider tensor."""
    fused = 3 * draw(batch, tokens, 3, heads, dim, seed=seed, dtype=dtype)
    angles = 7 * draw(tokens, 1, dim // 2, seed=seed + 1)
    drawn = (QKNorm(draw(heads * dim, seed=seed + 2 + i, dtype=dtype), EPS * 10**i) for i in range(2))
    gains = (norm if wanted else None for norm, wanted in zip(drawn, norms, strict=True))
    norm_rope = NormRope(torch.polar(torch.ones_like(angles), angles), *gains)
    return fused[:, :, 0], fused[:, :, 1], fused[:, :, 2].contiguous(), norm_rope


def targets_for(groups, batch, tokens, dim, dtype):
    """Tails in the midst of stores full of NaN."""
    stores = [torch.full((2, batch, tokens + 5, len(heads), dim), torch.nan, dtype=dtype) for heads in groups]
    return [
        HeadTarget(heads, *store[:, :, 3 : 3 + tokens]) for heads, store in zip(groups, stores, strict=True)
    ], stores


def exact(x, norm, rotations):
    """[B, L, H, D] normalised and turned in fp64, pair by pair."""
    x = x.double()
    if norm is not None:
        flat = x.flatten(2)
        flat = flat / (flat.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.gain.double()
        x = flat.view(x.shape)
    a, b, cos, sin = x[..., 0::2], x[..., 1::2], rotations.real.double(), rotations.imag.double()
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


def check(name, seed, groups, *, batch=2, tokens=7, dim=12, dtype=torch.float32, norms=(True, True)):
    heads = sum(len(group) for group in groups)
    q, k, v, norm_rope = case(seed, batch, tokens, heads, dim, dtype, norms=norms)
    targets, stores = targets_for(groups, batch, tokens, dim, dtype)
    with force_elementwise(name), poisoned_memory():
        asked = place_heads(q, k, v, targets, norm_rope)
    wanted_q, wanted_k = (
        exact(q, norm_rope.norm_q, norm_rope.rotations),
        exact(k, norm_rope.norm_k, norm_rope.rotations),
    )
    for out, target, store in zip(asked, targets, stores, strict=True):
        index = list(target.heads)
        close(out, wanted_q[:, :, index], dtype)
        close(target.k, wanted_k[:, :, index], dtype)
        assert torch.equal(target.v, v[:, :, index])
        around = torch.cat([store[:, :, :3], store[:, :, 3 + tokens :]], dim=2)
        assert around.isnan().all()


def close(found, wanted, dtype):
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wanted, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@contextlib.contextmanager
def poisoned_memory():
    """`torch.empty` gives NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@st.composite
def groupings(draw):
    """Heads in any order, in one to four groups."""
    order = draw(st.permutations(range(draw(st.integers(1, 7)))))
    cuts = sorted(draw(st.lists(st.integers(1, len(order)), max_size=3)))
    parts = [tuple(order[a:b]) for a, b in pairwise([0, *cuts, len(order)])]
    return [part for part in parts if part]


@pytest.mark.parametrize("name", NAMES)
@given(groups=groupings(), seed=st.integers(0, 9999), dtype=st.sampled_from(list(TOLERANCE)))
@few
def test_any_grouping_of_heads(name, groups, seed, dtype):
    check(name, seed, groups, dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("dim", [2, 32, 128])
def test_head_dims_of_models(name, dim, dtype):
    check(name, dim, [(1, 3, 4), (0, 2)], dim=dim, dtype=dtype, tokens=3, batch=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norms", [(False, False), (True, False), (False, True)])
def test_what_is_normalised_already_is_turned_only(name, norms):
    check(name, 3, [(0, 2), (1,)], norms=norms)


@TRITON
def test_a_store_of_another_dtype():
    q, k, v, norm_rope = case(5, 1, 4, 2, 16, torch.bfloat16)
    targets, _ = targets_for([(1, 0)], 1, 4, 16, torch.float32)
    for name in ("torch", "fused"):
        with force_elementwise(name):
            place_heads(q, k, v, targets, norm_rope)
        wanted = exact(k, norm_rope.norm_k, norm_rope.rotations)[:, :, [1, 0]]
        torch.testing.assert_close(targets[0].k.double(), wanted, atol=1e-2, rtol=1e-2)


@TRITON
def test_far_apart():
    """Tokens of a store more than 2^31 elements apart; only pages that are touched become memory."""
    step = 2**31 // 2 + 16
    store = torch.empty(3 * step, dtype=torch.float16)
    k_out, v_out = (torch.as_strided(store, (1, 3, 1, 16), (3 * step, step, 16, 1), offset) for offset in (0, 16))
    q, k, v, norm_rope = case(1, 1, 3, 1, 16, torch.float16)
    with force_elementwise("fused"):
        place_heads(q, k, v, [HeadTarget((0,), k_out, v_out)], norm_rope)
    wanted = exact(k, norm_rope.norm_k, norm_rope.rotations)
    torch.testing.assert_close(k_out.double(), wanted, atol=1e-2, rtol=1e-2)
    assert torch.equal(v_out, v)


def test_finished_tensors_are_copied_alone():
    """Without a norm_rope; then there may be fewer queries than keys."""
    _, k, v, _ = case(2, 2, 6, 4, 8, torch.float32)
    q = draw(2, 1, 4, 8, seed=9)
    targets, _ = targets_for([(2, 0, 1), (3,)], 2, 6, 8, torch.float32)
    asked = place_heads(q, k, v, targets)
    for out, target in zip(asked, targets, strict=True):
        index = list(target.heads)
        assert torch.equal(out, q[:, :, index])
        assert torch.equal(target.k, k[:, :, index]) and torch.equal(target.v, v[:, :, index])


def test_queries_of_all_heads_are_not_copied_when_finished():
    q, k, v, _ = case(2, 1, 6, 4, 8, torch.float32)
    targets, _ = targets_for([(0, 1, 2, 3)], 1, 6, 8, torch.float32)
    assert place_heads(q, k, v, targets)[0] is q


def test_a_finish_alone_gives_new_tensors_with_gradients():
    q, k, _, norm_rope = case(4, 2, 5, 3, 8, torch.float32)
    q.requires_grad_()
    found = norm_rope(q, k)
    close(found[0].detach(), exact(q.detach(), norm_rope.norm_q, norm_rope.rotations), torch.float32)
    close(found[1], exact(k, norm_rope.norm_k, norm_rope.rotations), torch.float32)
    found[0].square().sum().backward()
    assert q.grad.isfinite().all() and q.grad.any()


@given(heads=st.permutations(range(7)), count=st.integers(1, 7))
@few
def test_heads_are_put_back(heads, count):
    heads, x, out = tuple(heads[:count]), draw(1, 3, count, 4, seed=0), torch.zeros(1, 3, 7, 4)
    put_heads(out, heads, x)
    assert torch.equal(out[:, :, head_index(heads, out.device)], x)
    assert not out[:, :, [head for head in range(7) if head not in heads]].any()


def test_a_kernel_that_cannot_be_built_costs_one_line(monkeypatch, caplog):
    module = sys.modules["dummy_forcing.kernels.norm_rope"]

    def broken(*args):
        raise RuntimeError("no compiler")

    def run():
        q, k, v, norm_rope = case(1, 1, 4, 2, 8, torch.float32)
        targets, _ = targets_for([(0, 1)], 1, 4, 8, torch.float32)
        return [*place_heads(q, k, v, targets, norm_rope), targets[0].k]

    expected = run()
    monkeypatch.setenv("DUMMY_FORCING_ELEMENTWISE", "fused")
    module.NORM_ROPE.forget()
    fused = module.NORM_ROPE.table["fused"]
    monkeypatch.setitem(module.NORM_ROPE.table, "fused", type(fused)("fused", broken, "", library="torch"))
    for _ in range(2):
        assert all(map(torch.equal, run(), expected))
    about = [record.getMessage() for record in caplog.records if "no compiler" in record.getMessage()]
    assert len(about) == 1 and about[0].startswith("norm, RoPE and KV write: fused failed")
    module.NORM_ROPE.forget()


def test_a_misspelt_variable_costs_one_line(monkeypatch, caplog):
    monkeypatch.setenv("DUMMY_FORCING_ELEMENTWISE", "fussed")
    for seed in range(2):
        q, k, v, norm_rope = case(seed, 1, 4, 2, 8, torch.float32)
        place_heads(q, k, v, targets_for([(0, 1)], 1, 4, 8, torch.float32)[0], norm_rope)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    names = "torch, fused, kitchen"
    assert lines == [
        f"DUMMY_FORCING_ELEMENTWISE=fussed is no elementwise back end; there are {names}. Choosing one."
    ]
