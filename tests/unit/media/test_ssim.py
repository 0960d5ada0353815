"""SSIM against a literal loop over its definition, and what holds for any pictures."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media.quality import ssim_per_frame

K1, K2 = 0.01, 0.03


def by_definition(a, b):
    """Wang et al. 2004, equations 14 to 17, one window after the other, in double precision."""
    grey = [frame.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64) for frame in (a, b)]
    weights = [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)]
    total = sum(map(sum, weights))
    found = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            points = [
                (weights[i][j] / total, *(g[top + i, left + j].item() for g in grey))
                for i in range(11)
                for j in range(11)
            ]
            mean_x = sum(w * x for w, x, _ in points)
            mean_y = sum(w * y for w, _, y in points)
            var_x = sum(w * (x - mean_x) ** 2 for w, x, _ in points)
            var_y = sum(w * (y - mean_y) ** 2 for w, _, y in points)
            both = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in points)
            light = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
            found.append(light * (2 * both + K2**2) / (var_x + var_y + K2**2))
    return sum(found) / len(found)


def noise(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(11, 11), (12, 17)])
@pytest.mark.parametrize("amount", [0.0, 0.05, 1.0])
def test_it_is_what_the_definition_says(size, amount):
    a = noise(1, 2, *size, 3)
    b = (1 - amount) * a + amount * noise(2, 2, *size, 3)
    expected = [by_definition(x, y) for x, y in zip(a, b, strict=True)]
    assert ssim_per_frame(a, b).tolist() == pytest.approx(expected, abs=2e-6)


def test_of_flat_pictures_only_the_light_counts():
    a, b = torch.full((1, 16, 16, 3), 0.4), torch.full((1, 16, 16, 3), 0.6)
    expected = (2 * 0.4 * 0.6 + K1**2) / (0.4**2 + 0.6**2 + K1**2)
    assert ssim_per_frame(a, b).item() == pytest.approx(expected, abs=1e-6)


def test_the_opposite_picture_has_a_negative_one():
    a = noise(3, 1, 16, 16, 3)
    assert -1 <= ssim_per_frame(a, 1 - a).item() < -0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_equal_is_one_and_the_order_does_not_count(seed, other):
    a, b = ((255 * noise(each, 1, 13, 12, 3)).byte() for each in (seed, other))
    assert ssim_per_frame(a, a, 255).tolist() == [1.0]
    assert ssim_per_frame(a, b, 255).tolist() == ssim_per_frame(b, a, 255).tolist()
    assert ssim_per_frame(a, b, 255).item() <= 1 + 1e-6
    assert ssim_per_frame(a / 255, b / 255).tolist() == pytest.approx(ssim_per_frame(a, b, 255).tolist(), abs=1e-5)


def test_bad_input():
    clip = torch.zeros(2, 16, 16, 3)
    with pytest.raises(DummyForcingError, match="one shape"):
        ssim_per_frame(clip, clip[:1])
    with pytest.raises(DummyForcingError, match="at least 11 x 11 pixels, got 16 x 10"):
        ssim_per_frame(clip[:, :10], clip[:, :10])
    with pytest.raises(DummyForcingError, match="255"):
        ssim_per_frame(clip.byte(), clip.byte())
    with pytest.raises(DummyForcingError, match=r"\[frames, height, width, 3\]"):
        ssim_per_frame(clip[..., 0], clip[..., 0])
