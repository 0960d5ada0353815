"""The picture of a comparison: one for any clip that has a frame."""

import pytest
import torch

from dummy_forcing.core.media.bars import Bar, BarGroup, draw_bars
from dummy_forcing.core.media.clip_quality import QualityMeter
from dummy_forcing.core.media.comparison_plot import describe_psnr, draw_comparison
from dummy_forcing.core.media.drawing import pixels_of

COSTS = [BarGroup("KV memory", (Bar("dense", 4e6, "3.8 MiB"), Bar("forced", 1e6, "1.0 MiB")), "0.25 times")]


def quality(a, b):
    meter = QualityMeter()
    meter.add(a, b)
    return meter.quality


def colours(picture):
    return {tuple(pixel) for pixel in pixels_of(picture).flatten(0, 1).tolist()}


@pytest.mark.parametrize("frames", [1, 2, 40])
@pytest.mark.parametrize("equal", [True, False])
def test_any_clip_has_curves(frames, equal):
    a = torch.randint(0, 255, (frames, 16, 16, 3), dtype=torch.uint8)
    b = a if equal else a // 2
    picture = draw_comparison(quality(a, b), ("a", "b"), 16.0, [])
    assert (160, 220, 120) in colours(picture)  # a curve
    assert draw_comparison(quality(a, b), ("a", "b"), 16.0, COSTS).height > picture.height


def test_bars_are_as_long_as_their_values():
    pixels = pixels_of(draw_bars(COSTS, 900))
    lengths = [
        (pixels == torch.tensor(colour)).all(-1).sum(1).max().item() for colour in ((240, 120, 90), (110, 190, 250))
    ]
    assert lengths[1] / lengths[0] == pytest.approx(0.25, abs=0.01)


def test_a_bar_keeps_its_colour_without_the_other():
    pixels = draw_bars([BarGroup("KV memory", (None, COSTS[0].bars[1]))], 900)
    assert (110, 190, 250) in colours(pixels) and (240, 120, 90) not in colours(pixels)
    assert pixels.height < draw_bars(COSTS, 900).height


def test_bars_of_nothing():
    assert draw_bars([BarGroup("KV memory", (Bar("a", 0.0, "0 B"),))], 900).width == 900


def test_infinity_has_a_word():
    assert describe_psnr(float("inf")) == "equal" and describe_psnr(31.234) == "31.23 dB"
