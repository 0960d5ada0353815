"""Pictures of clips: several side by side under their labels, or one as a sheet of stills.

Pure functions of tensors. Clips are [frames, height, width, 3] RGB, float in [0, 1] or uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .drawing import BACKGROUND, blank, label_strip, still
from .frames import check_frames, to_bytes, to_unit

if TYPE_CHECKING:
    from PIL import Image


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
        DummyForcingError: no clips, other counts of labels or frames, scale < 1 or gap < 0.
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


def contact_sheet(
    clip: Tensor,
    columns: int = 8,
    every: int = 1,
    labels: Sequence[str] | None = None,
    *,
    scale: int = 1,
    gap: int = 4,
) -> Image.Image:
    """Lay out every `every`-th frame of a clip as one still, row by row, beginning with frame 0.

    Args:
        clip: at least one frame.
        columns: stills in a row; fewer if there are not so many.
        every: step between the frames shown.
        labels: text for the corner of each still shown; by default its frame number in the clip.
        scale: every pixel becomes scale x scale equal pixels.
        gap: pixels between the stills and around them.

    Raises:
        DummyForcingError: empty clip, another count of labels, columns, every or scale < 1, gap < 0.
    """
    check_frames(clip)
    _check_at_least(1, frames=len(clip), columns=columns, every=every, scale=scale)
    _check_at_least(0, gap=gap)
    shown = _enlarge(to_bytes(clip[::every]), scale)
    texts = [str(index) for index in range(0, len(clip), every)] if labels is None else labels
    _check_count(len(texts), len(shown), "stills")
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    height, width = shown.shape[1:3]
    sheet = blank(columns * (width + gap) + gap, rows * (height + gap) + gap)
    for index, (frame, text) in enumerate(zip(shown, texts, strict=True)):
        row, column = divmod(index, columns)
        sheet.paste(still(frame, text), (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet


def _check_side_by_side(clips: Sequence[Tensor], labels: Sequence[str], scale: int, gap: int) -> None:
    _check_at_least(1, clips=len(clips), scale=scale)
    _check_at_least(0, gap=gap)
    _check_count(len(labels), len(clips), "clips")
    for clip in clips:
        check_frames(clip)
    frames = [len(clip) for clip in clips]
    if len(set(frames)) > 1:
        raise DummyForcingError(f"clips side by side need equal frame counts, got {frames}; trim the longer ones")


def _check_count(labels: int, things: int, name: str) -> None:
    if labels != things:
        raise DummyForcingError(f"got {labels} labels for {things} {name}; pass one label each")


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise DummyForcingError(f"{name} must be at least {least}, got {value}; raise it")


def _enlarge(clip: Tensor, scale: int) -> Tensor:
    return clip.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
