"""Which norm layers our kernels compute, and that all others are called."""

import copy

import pytest
import torch
from torch import nn

from dummy_forcing.core.wan.block import add_norm, add_norm_modulated, computes_as_torch, norm_modulated, qk_norm
from dummy_forcing.core.wan.forward import cast_like

DIM = 12


def draw(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def norm():
    found = nn.RMSNorm(DIM, eps=1e-4).requires_grad_(False)
    found.weight.copy_(draw(DIM, seed=1))
    return found


class Doubled(nn.RMSNorm):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_plain_norm_gives_its_gain(norm):
    x = draw(1, 3, DIM).bfloat16()
    found = qk_norm(norm, x, computes_as_torch, cast_like)
    assert torch.equal(found.gain, norm.weight.bfloat16()) and found.eps == 1e-4


def patched(norm):
    norm.forward = lambda x: 3 * x


def hooked(norm):
    norm.register_forward_hook(lambda module, inputs, out: 2 * out)


def of_another_class(norm):
    norm.__class__ = Doubled


def without_eps(norm):
    norm.eps = None


def of_another_width(norm):
    norm.normalized_shape = (DIM // 2,)


def elsewhere(norm):
    norm.to("meta")


def packed(norm):
    norm.weight = nn.Parameter(norm.weight.to(torch.float8_e4m3fn), requires_grad=False)


CHANGES = (patched, hooked, of_another_class, without_eps, of_another_width, elsewhere, packed)


@pytest.mark.parametrize("change", CHANGES)
def test_any_other_is_called(norm, change):
    change(norm)
    assert qk_norm(norm, draw(1, 3, DIM), computes_as_torch, cast_like) is None


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norms_give_the_same_whether_computed_or_called(affine):
    x, update, gate, shift, scale = (draw(2, 6, DIM, seed=seed)[:, : 6 if seed < 2 else 3] for seed in range(5))
    plain = nn.LayerNorm(DIM, elementwise_affine=affine).requires_grad_(False)
    for index, parameter in enumerate(plain.parameters()):
        parameter.copy_(draw(DIM, seed=9 + index))
    called = copy.deepcopy(plain)
    called.register_forward_hook(lambda module, inputs, out: out.clone())

    def results(norm):
        yield norm_modulated(norm, x, shift, scale, computes_as_torch)
        yield from add_norm_modulated(norm, x, update, shift, scale, computes_as_torch)
        yield from add_norm(norm, x, update, gate, computes_as_torch, cast_like)

    for found, expected in zip(results(plain), results(called), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
