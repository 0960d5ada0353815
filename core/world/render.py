"""Draws toy-world scenes: flat shapes with smooth edges on a dark gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import SIZE, Scenes, centres

PALETTE = torch.tensor(
    [
        [0.93, 0.20, 0.18],  # red
        [0.98, 0.82, 0.18],  # yellow
        [0.22, 0.74, 0.30],  # green
        [0.20, 0.82, 0.88],  # cyan
        [0.18, 0.36, 0.95],  # blue
        [0.86, 0.25, 0.80],  # magenta
    ]
)
"""RGB of each colour word in [0, 1], in the order of `vocabulary.COLOURS`."""

_BACKGROUND = torch.tensor([[0.05, 0.06, 0.10], [0.16, 0.13, 0.17]])  # tone 0 and tone 1
_TRIANGLE = 1.4  # circumradius of a triangle over the radius of a circle of about the same area
_SQUARE = 0.89  # half side of a square over the radius of a circle of the same area


def render(scenes: Scenes, frames: Tensor, size: int = SIZE) -> Tensor:
    """Render scenes at the given frame numbers.

    Args:
        scenes: batch of B scenes.
        frames: frame numbers [F].
        size: picture side in pixels.

    Returns:
        [B, F, size, size, 3] fp32 in [0, 1].
    """
    grid = torch.arange(size) + 0.5
    x, y = centres(scenes, frames)
    picture = _background(scenes.tone, grid)[:, None].expand(-1, len(frames), -1, -1, -1)
    for item in reversed(range(x.shape[1])):  # back to front
        dx = grid - x[:, item, :, None, None]
        dy = grid[:, None] - y[:, item, :, None, None]
        inside = coverage(scenes.shape[:, item], dx, dy, scenes.radius[:, item])
        inside = inside * (scenes.colour[:, item] >= 0)[:, None, None, None]
        colour = PALETTE[scenes.colour[:, item].clamp(min=0)][:, None, None, None]
        picture = torch.lerp(picture, colour.expand_as(picture), inside[..., None])
    return picture


def coverage(shape: Tensor, dx: Tensor, dy: Tensor, radius: Tensor) -> Tensor:
    """How much of each pixel a shape covers, in [0, 1].

    shape [B] indexes `vocabulary.SHAPES`; dx and dy broadcast to [B, F, H, W] offsets from the centre, in pixels;
    radius [B] in pixels.
    """
    r = radius[:, None, None, None]
    circle = torch.hypot(dx, dy) - r
    square = torch.maximum(dx.abs(), dy.abs()) - _SQUARE * r
    # an equilateral triangle pointing up: three half planes at distance circumradius / 2
    slanted = 0.8660254 * dx.abs() - 0.5 * dy
    triangle = torch.maximum(slanted, dy.expand_as(slanted)) - _TRIANGLE * r / 2
    distance = torch.stack(torch.broadcast_tensors(circle, square, triangle))
    chosen = distance[shape, torch.arange(len(shape))]
    return (0.5 - chosen).clamp(0, 1)


def _background(tone: Tensor, grid: Tensor) -> Tensor:
    base = torch.lerp(_BACKGROUND[0], _BACKGROUND[1], tone[:, None])
    shade = 1.25 - 0.5 * grid / grid.shape[0]
    return (base[:, None, None] * shade[:, None, None]).expand(-1, -1, grid.shape[0], -1)
