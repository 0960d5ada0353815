"""PSNR against its definition and known values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media.quality import decibels, psnr, squared_errors


def test_equal_clips_are_infinitely_alike():
    clip = torch.rand(2, 4, 4, 3)
    assert psnr(clip, clip.clone()) == math.inf
    assert squared_errors(clip, clip).tolist() == [0, 0] and decibels(0.0) == math.inf


@given(st.integers(0, 254), st.integers(1, 255))
def test_a_constant_difference_has_a_known_psnr(level, difference):
    other = min(255, level + difference)
    a = torch.full((2, 3, 3, 3), level, dtype=torch.uint8)
    b = torch.full((2, 3, 3, 3), other, dtype=torch.uint8)
    assert psnr(a, b, peak=255) == pytest.approx(20 * math.log10(255 / (other - level)))
    assert psnr(a, b, peak=255) == psnr(b, a, peak=255)
    assert psnr(a / 255, b / 255) == pytest.approx(psnr(a, b, peak=255), abs=1e-4)


def test_the_clip_averages_errors_not_decibels():
    a = torch.zeros(2, 4, 4, 3)
    b = torch.stack([torch.full((4, 4, 3), 0.1), torch.full((4, 4, 3), 0.3)])
    assert squared_errors(a, b).tolist() == pytest.approx([0.01, 0.09], abs=1e-6)
    assert psnr(a, b) == pytest.approx(10 * math.log10(1 / 0.05), abs=1e-5)


def test_nan_is_not_hidden():
    assert math.isnan(psnr(torch.tensor([0.0, math.nan]), torch.zeros(2)))


def test_bad_input():
    clip = torch.zeros(2, 4, 4, 3)
    with pytest.raises(DummyForcingError, match="one shape"):
        psnr(clip, clip[:1])
    with pytest.raises(DummyForcingError, match="one shape"):
        psnr(clip[:0], clip[:0])
    with pytest.raises(DummyForcingError, match="one scale"):
        psnr(clip, clip.byte())
    with pytest.raises(DummyForcingError, match="255"):
        psnr(clip.byte(), clip.byte())
