import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.kernels.fp8 import (
    E4M3_MAX,
    REFERENCE,
    SCALED_MM,
    dequantise_rows,
    fp8_linear,
    fp8_path,
    multiply_plainly,
    quantise_rows,
)

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def draw(*size, seed=0, dtype=torch.float32):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype)


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(-12, 12), st.floats(0, 8))
def test_what_rounding_costs(seed, exponent, spread):
    """Half a step of a 3-bit mantissa, or of the denormals below 2^-6 of the scaled row."""
    x = draw(4, 33, seed=seed) * draw(4, 33, seed=seed + 1).mul(spread).exp() * 2.0**exponent
    values, scale = quantise_rows(x)
    error = (dequantise_rows(values, scale, torch.float32) - x).abs()
    assert (error <= 1.0001 * torch.maximum(2**-4 * x.abs(), 2**-10 * scale)).all()


def test_every_row_has_its_scale_and_uses_all_of_the_range():
    x = torch.tensor([[1.0, -2.0], [300.0, 0.5], [0.0, 1e-3]])
    values, scale = quantise_rows(x)
    assert values.dtype == torch.float8_e4m3fn and scale.dtype == torch.float32
    torch.testing.assert_close(scale, torch.tensor([[2.0], [300.0], [1e-3]]) / E4M3_MAX)
    assert torch.equal(values.float().abs().amax(-1), torch.full((3,), E4M3_MAX))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float8_e4m3fn, torch.float8_e5m2])
def test_types_in_which_torch_does_not_compute(dtype):
    """What files of other people have: they are cast first."""
    x = draw(4, 32).to(dtype)
    (values, scale), (expected, expected_scale) = quantise_rows(x), quantise_rows(x.float())
    assert torch.equal(values.float(), expected.float()) and torch.equal(scale, expected_scale)


def test_what_e4m3_has_comes_back_exactly():
    every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    row = every[every.isfinite()]
    values, scale = quantise_rows(row[None])
    assert scale.item() == 1
    assert torch.equal(dequantise_rows(values, scale, torch.float32)[0], row)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_zeros(dtype):
    values, scale = quantise_rows(torch.zeros(2, 16, dtype=dtype))
    assert not values.float().any() and (scale > 0).all()
    weight, weight_scale = quantise_rows(draw(16, 16))
    bias = draw(16, seed=1, dtype=dtype)
    assert torch.equal(fp8_linear(torch.zeros(2, 16, dtype=dtype), weight, weight_scale, bias), bias.expand(2, 16))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_stay_visible(number):
    x = draw(2, 16)
    x[0, 3] = number
    weight, weight_scale = quantise_rows(draw(16, 16))
    made = fp8_linear(x, weight, weight_scale, None)
    assert made[0].isnan().all() and made[1].isfinite().all()


@pytest.mark.skipif(fp8_path(CPU)[0] != SCALED_MM, reason=fp8_path(CPU)[1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 16, 37])
@pytest.mark.parametrize("biased", [True, False])
def test_both_ways_agree(dtype, rows, biased):
    """Also where the number of tokens is no multiple of 16."""
    x, (weight, weight_scale) = draw(rows, 64, dtype=dtype), quantise_rows(draw(48, 64, seed=1))
    bias = draw(48, seed=2, dtype=dtype) if biased else None
    made = fp8_linear(x, weight, weight_scale, bias)
    plain = multiply_plainly(*quantise_rows(x), weight, weight_scale, bias, dtype)
    assert made.dtype == plain.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(made, plain, atol=tolerance, rtol=tolerance)


def test_sums_beyond_fp16(monkeypatch):
    """448 times 448 is more than fp16 has; the product of the real numbers is not."""
    monkeypatch.setattr("dummy_forcing.kernels.fp8.fp8_path", lambda device: (REFERENCE, ""))
    x = torch.full((1, 64), 0.5, dtype=torch.float16)
    made = fp8_linear(x, *quantise_rows(torch.full((16, 64), 0.25)), None)
    torch.testing.assert_close(made, torch.full((1, 16), 8.0, dtype=torch.float16), atol=0, rtol=1e-2)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(0, 99))
def test_a_linear_layer_up_to_rounding(batch, tokens, seed):
    x, weight, bias = draw(batch, tokens, 96, seed=seed), draw(32, 96, seed=seed + 1), draw(32, seed=seed + 2)
    made = fp8_linear(x, *quantise_rows(weight), bias)
    exact = torch.nn.functional.linear(x, weight, bias)
    assert made.shape == exact.shape
    assert (made - exact).norm() <= 0.06 * exact.norm()


def test_a_row_does_not_change_with_its_neighbours():
    x, weight = draw(5, 32), quantise_rows(draw(16, 32, seed=1))
    loud = x.clone()
    loud[1:] *= 1e4
    assert torch.equal(fp8_linear(loud, *weight, None)[0], fp8_linear(x, *weight, None)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 37, 4680])
def test_gpus_with_fp8_use_it_and_agree(dtype, rows):
    device = torch.device("cuda")
    assert (fp8_path(device)[0] == SCALED_MM) == (torch.cuda.get_device_capability() >= (8, 9))
    x, bias = draw(rows, 1536, dtype=dtype).to(device), draw(8960, seed=2, dtype=dtype).to(device)
    weight, weight_scale = quantise_rows(draw(8960, 1536, seed=1).to(device))
    made = fp8_linear(x, weight, weight_scale, bias)
    plain = multiply_plainly(*quantise_rows(x), weight, weight_scale, bias, dtype)
    assert made.dtype == dtype and (made - plain).norm() < 0.01 * plain.norm()
