"""Residual, LayerNorm, scale and shift: every back end against fp64 arithmetic written out."""

import pytest
import torch
from attention_cases import TOLERANCE
from elementwise_cases import EPS, NAMES, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.kernels import (
    Affine,
    Modulation,
    force_elementwise,
    gated_residual,
    layer_norm,
    modulate,
    residual_norm,
)


def per_token(x, tokens):
    """[B, F, dim] -> [B, L, dim]."""
    return x.double().repeat_interleave(tokens // x.shape[1], dim=1)


def exact_norm(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + EPS).sqrt()


def exact(x, update, gate, then):
    tokens, total = x.shape[1], x.double()
    if update is not None:
        total = total + update.double() * (1 if gate is None else per_token(gate, tokens))
    if isinstance(then, Modulation):
        return total, exact_norm(total) * (1 + per_token(then.scale, tokens)) + per_token(then.shift, tokens)
    scale, shift = (each if each is None else each.double() for each in (then.scale, then.shift))
    return total, exact_norm(total) * (1 if scale is None else scale) + (0 if shift is None else shift)


def close(found, wanted, dtype):
    """Relative to the largest number: a shift may cancel what has been rounded before."""
    assert found.dtype == dtype and found.isfinite().all()
    largest = max(1.0, wanted.abs().max().item())
    torch.testing.assert_close(found.double(), wanted, atol=TOLERANCE[dtype] * largest, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", NAMES)
@given(
    seed=st.integers(0, 9999),
    dtype=st.sampled_from(list(TOLERANCE)),
    frames=st.integers(1, 3),
    dim=st.integers(2, 70),
    parts=st.sampled_from(["norm", "residual", "gated"]),
    kind=st.sampled_from(["frames", "affine", "scale", "plain"]),
)
@settings(deadline=None, max_examples=30)
def test_all_forms(name, seed, dtype, frames, dim, parts, kind):
    tokens = 4 * frames
    six = draw(2, frames, 6, dim, seed=seed, dtype=dtype).unbind(2)  # views with strides, as blocks have them
    x, update = (draw(2, tokens, dim, seed=seed + i, dtype=dtype) for i in (1, 2))
    then = {
        "frames": Modulation(six[0], six[1]),
        "affine": Affine(six[3][0, 0], six[4][0, 0]),
        "scale": Affine(None, six[4][0, 0]),
        "plain": Affine(None, None),
    }[kind]
    gate = six[2] if parts == "gated" else None
    torch.use_deterministic_algorithms(True)  # `torch.empty` gives NaN
    try:
        with force_elementwise(name):
            if parts == "norm":
                close(layer_norm(x, EPS, then), exact(x, None, None, then)[1], dtype)
                return
            total, normed = residual_norm(x, update, gate, EPS, then)
    finally:
        torch.use_deterministic_algorithms(False)
    wanted = exact(x, update, gate, then)
    close(total, wanted[0], dtype)
    close(normed, exact(total, None, None, then)[1] if dtype != torch.float32 else wanted[1], dtype)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_fp32(name):
    """A mean far from zero: sums in half precision, or E[x^2] - E[x]^2, would lose the rest."""
    x = (100 + draw(1, 3, 1536, seed=0)).bfloat16()
    with force_elementwise(name):
        found = layer_norm(x, EPS, Affine(None, None))
    close(found, exact_norm(x.double()), torch.bfloat16)


@pytest.mark.parametrize("name", NAMES)
def test_views_of_larger_tensors(name):
    """Tokens cut out of a longer sequence, channels apart."""
    wide = draw(2, 12, 40, seed=1)
    then = Modulation(draw(2, 2, 20, seed=2), draw(2, 2, 20, seed=3))
    for x in (wide[:, 2:10, :20], wide[:, ::3, ::2]):
        with force_elementwise(name):
            total, normed = residual_norm(x, x, then.shift, EPS, then)
        wanted = exact(x, x, then.shift, then)
        close(total, wanted[0], torch.float32)
        close(normed, wanted[1], torch.float32)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_the_parts_alone(dtype):
    x, update = (draw(2, 6, 10, seed=i, dtype=dtype) for i in (1, 2))
    then = Modulation(*(draw(2, 3, 10, seed=i, dtype=dtype) for i in (3, 4)))
    gate = draw(2, 3, 10, seed=5, dtype=dtype)
    close(gated_residual(x, update, gate), exact(x, update, gate, then)[0], dtype)
    close(gated_residual(x, update, None), exact(x, update, None, then)[0], dtype)
    scaled = x.double() * (1 + per_token(then.scale, 6)) + per_token(then.shift, 6)
    close(modulate(x, then), scaled, dtype)
