"""Levels survive the way from bytes to floats and back."""

import pytest
import torch

from dummy_forcing.core.media.frames import pad_to, to_bytes, to_unit

LEVELS = torch.arange(256, dtype=torch.uint8)[None, None, :, None].expand(2, 3, -1, 3)


def test_every_level_survives():
    assert torch.equal(to_bytes(to_unit(LEVELS)), LEVELS)
    assert torch.equal(to_bytes(LEVELS.double() / 255), LEVELS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_no_more_than_its_own_rounding(dtype):
    stored = (LEVELS / 255).to(dtype)
    assert torch.equal(to_bytes(stored), (stored.double() * 255).round().to(torch.uint8))


def test_floats_are_clamped():
    frames = torch.tensor([-1.0, 0.0, 1.0, 7.0]).reshape(4, 1, 1, 1).expand(-1, 2, 2, 3)
    assert to_bytes(frames)[:, 0, 0, 0].tolist() == [0, 0, 255, 255]
    assert to_unit(frames)[:, 0, 0, 0].tolist() == [0, 0, 1, 1]


def test_frames_that_need_grad_and_are_not_contiguous():
    frames = torch.rand(1, 3, 4, 5, requires_grad=True).permute(0, 2, 3, 1)
    assert to_bytes(frames).is_contiguous() and not to_bytes(frames).requires_grad


def test_padding_repeats_the_border():
    frame = torch.arange(12).reshape(2, 2, 3)
    padded = pad_to(frame, 3, 4)
    assert torch.equal(padded[:2, :2], frame)
    assert torch.equal(padded[2], padded[1])
    assert torch.equal(padded[:2, 2:], frame[:, 1:].expand(-1, 2, -1))
