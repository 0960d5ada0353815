"""Clips side by side under their labels.

Clips are [frames, height, width, 3] RGB, float in [0, 1] or uint8.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .drawing import BACKGROUND, label_strip
from .frames import check_frames, to_unit


def side_by_side(clips: Sequence[Tensor], labels: Sequence[str], scale: int = 1, gap: int = 8) -> Tensor:
    """Put clips next to each other on a dark ground, each below a strip with its label.

    The layout depends on the sizes alone, so a stream may be composed chunk by chunk.

    Args:
        clips: one or more clips with equal frame counts; sizes may differ, tops are aligned.
        labels: one per clip; shrunk, then cut short, to fit above it.
        scale: every pixel becomes scale x scale equal pixels.
        gap: pixels between the clips and around them.

    Returns:
        float32 [frames, H, W, 3] in [0, 1] on the CPU.

    Raises:
        DummyForcingError: no clips, not one label for each, unequal frame counts, scale < 1 or gap < 0.
    """
    _check_side_by_side(clips, labels, scale, gap)
    enlarged = [_enlarge(to_unit(clip), scale) for clip in clips]
    widths = [clip.shape[2] for clip in enlarged]
    strip = to_unit(label_strip(labels, widths, gap)[None])[0]
    height = strip.shape[0] + max(clip.shape[1] for clip in enlarged) + gap
    ground = torch.tensor(BACKGROUND, dtype=torch.float32) / 255
    canvas = ground.repeat(len(enlarged[0]), height, strip.shape[1], 1)
    canvas[:, : strip.shape[0]] = strip
    left = gap
    for clip, width in zip(enlarged, widths, strict=True):
        canvas[:, strip.shape[0] : strip.shape[0] + clip.shape[1], left : left + width] = clip
        left += width + gap
    return canvas


def _check_side_by_side(clips: Sequence[Tensor], labels: Sequence[str], scale: int, gap: int) -> None:
    _check_at_least(1, clips=len(clips), scale=scale)
    _check_at_least(0, gap=gap)
    if len(labels) != len(clips):
        raise DummyForcingError(f"got {len(labels)} labels for {len(clips)} clips; pass one label each")
    for clip in clips:
        check_frames(clip)
    frames = [len(clip) for clip in clips]
    if len(set(frames)) > 1:
        raise DummyForcingError(f"clips side by side need equal frame counts, got {frames}; trim the longer ones")


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise DummyForcingError(f"{name} must be at least {least}, got {value}; raise {name}")


def _enlarge(clip: Tensor, scale: int) -> Tensor:
    return clip.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
