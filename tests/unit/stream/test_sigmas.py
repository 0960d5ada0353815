"""Noise levels: the published list to the last bit, and what is said about invalid lists."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.stream.sigmas import even_steps, shift_sigma, warp_steps

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "dense.safetensors"
STEP_LISTS = st.lists(st.integers(1, 1000), min_size=1, max_size=8, unique=True).map(
    lambda steps: sorted(steps, reverse=True)
)


def test_the_four_steps_of_self_forcing():
    assert warp_steps((1000, 750, 500, 250), 5) == (1.0, 0.9375, 2.5 / 3, 0.625, 0.0)


def test_the_golden_noise_levels():
    sigmas = load_file(GOLDEN)["sigmas"]
    torch.testing.assert_close(torch.tensor(warp_steps(even_steps(4), 5)), sigmas, atol=1e-4, rtol=0)


def test_shift_one_leaves_a_list_unwarped():
    assert warp_steps([1000, 500], 1) == (1.0, 0.5, 0.0)


@given(steps=STEP_LISTS, shift=st.floats(0.1, 20))
def test_levels_fall_to_zero_and_stay_in_range(steps, shift):
    sigmas = warp_steps(steps, shift)
    assert len(sigmas) == len(steps) + 1
    assert sigmas[-1] == 0
    assert 0 < sigmas[0] <= 1
    assert all(a > b for a, b in pairwise(sigmas))


@given(sigma=st.floats(0, 1), shift=st.floats(0.1, 20))
def test_a_shift_is_undone_by_its_inverse(sigma, shift):
    assert shift_sigma(shift_sigma(sigma, shift), 1 / shift) == pytest.approx(sigma, abs=1e-9)


def test_even_steps():
    assert even_steps(4) == (1000, 750, 500, 250)
    assert even_steps(2) == (1000, 500)
    assert even_steps(1) == (1000,)


@pytest.mark.parametrize("count", [0, -3])
def test_at_least_one_step(count):
    with pytest.raises(DummyForcingError, match="expected at least one denoising pass"):
        even_steps(count)


@pytest.mark.parametrize("steps", [(), (1000, 0), (1001, 500), (500, 500), (250, 500), (-5,), (float("nan"),)])
def test_invalid_step_lists(steps):
    with pytest.raises(DummyForcingError, match="expected decreasing timesteps above 0 and up to 1000"):
        warp_steps(steps, 5)


@pytest.mark.parametrize("shift", [0, -1, float("nan"), float("inf")])
def test_invalid_shifts(shift):
    with pytest.raises(DummyForcingError, match="expected a number above 0"):
        warp_steps((1000,), shift)
