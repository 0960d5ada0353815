"""Fits the toy world's physics to masks pixel by pixel.

Slower than fitting centroids (see `motion`), but at ease with objects that the picture cuts off or others hide.
"""

from __future__ import annotations

from dataclasses import astuple

import torch
from torch import Tensor

from .motion import SPEEDS, Motion, Track
from .render import coverage
from .scene import RADIUS, SIZE, bounce

RADII = (0.8 * RADIUS[0], 1.2 * RADIUS[1])
"""Pixels; what a generated object may have."""

_FRAMES = 8  # as many as are compared, evenly spaced
_STRIDE = 2  # pixels between those compared
_ROUNDS = 24
_TRIES = 16  # per round
_REACH = torch.tensor([0.1, 3.0, 3.0, 1.5])  # spread of the first round's tries: speed, start, lane, radius
_NARROWING = 0.85  # of the spread, per round


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of soft masks [..., H, W]; 0 where both are empty."""
    return torch.minimum(a, b).sum((-1, -2)) / torch.maximum(a, b).sum((-1, -2)).clamp(min=1e-6)


def expected_mask(track: Track, motion: Motion, front: Tensor) -> Tensor:
    """What an object in this motion shows [F, H, W] behind `front` [F, H, W], the masks of what is before it."""
    return _expected_masks(track, torch.tensor([astuple(motion)]), torch.arange(len(front)), front, 1)[0]


def fit_overlap(track: Track, mask: Tensor, front: Tensor, first: Motion) -> Motion:
    """Improve `first` by random search, with a fixed seed, until its picture overlaps `mask` [F, H, W] best."""
    seen = track.visible.nonzero().flatten()
    frames = seen[torch.linspace(0, len(seen) - 1, min(_FRAMES, len(seen))).round().long()]
    target = mask[frames, ::_STRIDE, ::_STRIDE]
    generator = torch.Generator().manual_seed(0)
    reach = _REACH.clone()
    reach[0] = min(reach[0].item(), 6.0 / len(track))  # so that the end of a long track stays near
    best = torch.tensor(astuple(first))
    for _ in range(_ROUNDS):
        tries = best + reach * torch.randn(_TRIES, len(best), generator=generator)
        tries = torch.cat([best[None], _within_bounds(tries, track)])
        pictures = _expected_masks(track, tries, frames, front[frames], _STRIDE)
        best = tries[overlap(pictures, target).mean(1).argmax()]
        reach = _NARROWING * reach
    return Motion(*best.tolist())


def _within_bounds(tries: Tensor, track: Track) -> Tensor:
    speed, start, lane, radius = tries.unbind(1)
    speed = speed.sign() * speed.abs().clamp(*SPEEDS) if track.excerpt else speed.clamp(*SPEEDS)
    start = start.clamp(*(track.starts if track.excerpt else (0, SIZE)))
    return torch.stack([speed, start, lane.clamp(0, SIZE), radius.clamp(*RADII)], 1)


def _expected_masks(track: Track, motions: Tensor, frames: Tensor, front: Tensor, stride: int) -> Tensor:
    """[N, F, H / stride, W / stride] for N motions [N, 4] at the given frame numbers."""
    speed, start, lane, radius = motions[..., None].unbind(1)
    along = bounce(start, track.sign * speed, radius, frames.float())
    across = lane.expand_as(along)
    x, y = (along, across) if track.horizontal else (across, along)
    grid = torch.arange(0, SIZE, stride) + 0.5
    dx, dy = grid - x[..., None, None], grid[:, None] - y[..., None, None]
    inside = coverage(torch.full((len(motions),), track.shape), dx, dy, radius[:, 0])
    return inside * (1 - front[:, ::stride, ::stride])
