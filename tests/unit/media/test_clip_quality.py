"""Quality over time, added up: equal to that of the whole clip, and its curves to their definition."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.media.clip_quality import LowestOverTime, QualityMeter
from dummy_forcing.core.media.quality import decibels, psnr, squared_errors, ssim_per_frame


def clip(seed, frames=10):
    return (255 * torch.rand(frames, 12, 14, 3, generator=torch.Generator().manual_seed(seed))).byte()


def measured(a, b, pieces, **options):
    meter = QualityMeter(**options)
    for one, other in zip(a.split(pieces), b.split(pieces), strict=True):
        meter.add(one, other)
    return meter.quality


@pytest.mark.parametrize("pieces", [1, 3, 10])
def test_pieces_give_what_the_whole_gives(pieces):
    a, b = clip(1), clip(2)
    b[4] = a[4]
    found, ssim = measured(a, b, pieces), ssim_per_frame(a, b, 255)
    assert found.frames == 10 and found.point_frames == 1
    assert found.psnr == pytest.approx(psnr(a, b, 255), abs=1e-9)
    decibels_per_frame = [decibels(error, 255) for error in squared_errors(a, b, 255).tolist()]
    assert found.psnr_curve == tuple(decibels_per_frame) and found.psnr_curve[4] == math.inf
    assert found.ssim_curve == tuple(ssim.tolist())
    assert found.ssim == pytest.approx(ssim.mean().item())
    assert (found.worst_ssim, found.worst_frame) == (ssim.min().item(), ssim.argmin().item())


def test_equal_clips_are_infinitely_alike():
    found = measured(clip(1), clip(1), 4)
    assert found.psnr == math.inf and found.ssim == found.worst_ssim == 1 and found.worst_frame == 0


def test_without_frames_nothing_is_claimed():
    found = QualityMeter().quality
    assert found.frames == 0 and math.isnan(found.psnr) and math.isnan(found.ssim) and found.psnr_curve == ()


def test_a_bad_frame_in_a_long_clip_is_seen():
    a = clip(1, 40)
    b = a.clone()
    b[29] = clip(2, 1)[0]
    found = measured(a, b, 7, most_points=8)
    assert found.point_frames == 8 and len(found.ssim_curve) == 5
    assert found.ssim_curve[3] == found.worst_ssim < 1 and found.worst_frame == 29
    assert [value == math.inf for value in found.psnr_curve] == [True, True, True, False, True]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-10, 10), max_size=100), st.sampled_from([2, 4, 8]))
def test_the_lowest_of_each_stretch(values, most):
    series = LowestOverTime(most)
    for value in values:
        series.add(value)
    width = series.width
    assert series.lowest == tuple(min(values[at : at + width]) for at in range(0, len(values), width))
    assert len(series.lowest) <= most and width & (width - 1) == 0
    assert width == 1 or len(values) > most * width // 2


def test_its_memory_does_not_grow():
    series = LowestOverTime(300)
    for value in range(200_000):
        series.add(value)
    assert len(series.lowest) <= 300 and len(json.dumps(series.lowest)) < 3000
