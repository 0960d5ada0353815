"""Fits the toy world's physics to a detected track: which speed, start and lane explain most of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .render import coverage
from .scene import OFFSTAGE, SIZE, SPEED, bounce

TOLERANCE = 4.0
"""Pixels: a centroid that far off agrees to 1 / e."""

HIDDEN = 0.05
"""Share of its full area below which an object counts as out of view."""

SPEEDS = (0.9 * SPEED[0], 1.1 * SPEED[1])
"""Pixels a frame; what a generated object may have."""

_LENIENT = 0.3  # share of the full area up to which it is forgiven to be in view on one side only
_HORIZON = 96  # frames of the first, global search; longer tracks are followed by doubling
_PLACES = (10.0, SIZE - 10.0)  # start and lane of an object that begins in view
_RADIUS_SLACK = 0.12  # relative; the radius decides where an object turns, and an area tells it to a few per cent
_OCCLUDED_WEIGHT = 0.1
_REACH, _FINENESS = 1.5, 64  # of the tables below: no shape of radius 1 reaches farther; pixels per radius


@dataclass(frozen=True)
class Motion:
    """One object's hidden quantities: speed in pixels a frame, the rest in pixels, as in `scene.Scenes`.

    A negative speed, which only an excerpt can have, is against the prompted direction.
    """

    speed: float
    start: float
    lane: float
    radius: float


@dataclass(frozen=True)
class Track:
    """One object's detections, turned so that it moves along the first axis; all [F].

    along, across: centroid of the visible part, pixels; share: visible area over full area; visible, at_border,
    occluded: bool. `shape` indexes the vocabulary; `sign` is +1 or -1, the prompted direction. An `excerpt` begins
    anywhere on the object's way and in either direction, the first frame of a whole video as the prompt says.
    """

    along: Tensor
    across: Tensor
    share: Tensor
    visible: Tensor
    at_border: Tensor
    occluded: Tensor
    shape: int
    horizontal: bool
    sign: float
    radius: float
    excerpt: bool = False

    def __len__(self) -> int:
        return len(self.along)

    @property
    def starts(self) -> tuple[float, float]:
        """Where the object may be in the first frame, pixels along the axis."""
        return (-(self.radius + OFFSTAGE), SIZE + self.radius + OFFSTAGE) if self.excerpt else _PLACES


def agreement(residual: Tensor, expected: Tensor, found: Tensor, found_visible: Tensor) -> Tensor:
    """How well frames of a track agree with the physics, in [0, 1]; all arguments broadcast.

    residual in pixels counts where both sides see the object; `expected` and `found` are visible shares of the full
    area. Both out of view is full agreement, one of them is none, unless it is only a sliver.
    """
    expected_visible = expected > HIDDEN
    near = torch.exp(-(residual / TOLERANCE).square())
    return torch.where(expected_visible & found_visible, near, _one_sided(expected, found, found_visible))


def fit_motion(track: Track) -> Motion:
    """The motion that the most frames agree with; frames that agree with none count as lost, wherever they are."""
    horizon = min(len(track), _HORIZON)
    best = _best(track, horizon, _global_grid(track))
    while True:
        for halving in range(4):
            best = _best(track, horizon, _local_grid(best, track, horizon, 0.5**halving))
        if horizon == len(track):
            return Motion(*best.tolist())
        horizon = min(2 * horizon, len(track))


def _one_sided(expected: Tensor, found: Tensor, found_visible: Tensor) -> Tensor:
    seen = torch.where(found_visible, found, expected)
    return torch.where((expected > HIDDEN) | found_visible, 1 - seen / _LENIENT, 1.0).clamp(0, 1)


def _global_grid(track: Track) -> tuple[Tensor, ...]:
    speeds = torch.linspace(*SPEEDS, 24)
    return (
        torch.cat([-speeds.flip(0), speeds]) if track.excerpt else speeds,
        torch.linspace(*track.starts, 78 if track.excerpt else 39),
        torch.linspace(*_PLACES, 39),
        track.radius * torch.tensor([0.94, 1.0, 1.06]),
    )


def _local_grid(best: Tensor, track: Track, horizon: int, scale: float) -> tuple[Tensor, ...]:
    """Two steps to each side; the steps move the end of the track by about 2 px times scale."""
    radius = track.radius
    steps = scale * torch.tensor([2.0 / horizon, 1.0, 1.0, 0.03 * radius])
    slack = _RADIUS_SLACK * radius
    speeds = SPEEDS if best[0] > 0 else (-SPEEDS[1], -SPEEDS[0])
    bounds = (speeds, track.starts, _PLACES, (radius - slack, radius + slack))
    return tuple(
        (centre + step * torch.arange(-2, 3)).clamp(*bound)
        for centre, step, bound in zip(best, steps, bounds, strict=True)
    )


def _best(track: Track, horizon: int, grid: tuple[Tensor, ...]) -> Tensor:
    """Speed, start, lane, radius [4] of the grid point with the highest summed agreement.

    The agreement of two axes is a product of one factor each, so all lanes are tried by one matrix product.
    """
    speeds, starts, lanes, radii = grid
    speed, start, radius = (axis.flatten() for axis in torch.meshgrid(speeds, starts, radii, indexing="ij"))
    along, expected = _visible_part(track, speed, start, radius, horizon)
    seen, found = track.visible[:horizon], track.share[:horizon]
    weight = torch.where(track.occluded[:horizon], _OCCLUDED_WEIGHT, 1.0)
    agree = weight * agreement(along - track.along[:horizon], expected, found, seen)
    both = (expected > HIDDEN) & seen
    # a cut-off triangle's centroid leaves its lane
    off_lane = (lanes - track.across[:horizon, None]) * ~track.at_border[:horizon, None]
    score = (agree * both) @ torch.exp(-(off_lane / TOLERANCE).square()) + (agree * ~both).sum(1, keepdim=True)
    hypothesis, lane = divmod(int(score.argmax()), len(lanes))
    return torch.stack([speed[hypothesis], start[hypothesis], lanes[lane], radius[hypothesis]])


def _visible_part(
    track: Track, speed: Tensor, start: Tensor, radius: Tensor, horizon: int
) -> tuple[Tensor, Tensor]:
    """Centroid along the axis of what the picture shows of the object, and its share of the whole: [N, horizon]."""
    r = radius[:, None]
    centre = bounce(start[:, None], track.sign * speed[:, None], r, torch.arange(horizon).float())
    profile = _profile(track.shape, track.horizontal)
    low, high = _look_up(profile, -centre / r), _look_up(profile, (SIZE - centre) / r)
    share, moment = high[0] - low[0], high[1] - low[1]
    return centre + r * moment / share.clamp(min=1e-6), share


@cache
def _profile(shape: int, horizontal: bool) -> Tensor:
    """Area up to a coordinate along the axis, and its first moment, of a shape of radius and area 1: [2, table]."""
    picture, place = _unit_picture(shape)
    slices = picture.sum(0 if horizontal else 1)
    slices = slices / slices.sum()
    sums = torch.stack([slices, slices * place]).cumsum(1)
    return torch.cat([torch.zeros(2, 1), sums], dim=1)


def _look_up(profile: Tensor, coordinate: Tensor) -> tuple[Tensor, Tensor]:
    """Linear interpolation of both rows."""
    last = profile.shape[1] - 1
    place = ((coordinate + _REACH) * _FINENESS).clamp(0, last)
    left = place.long().clamp(max=last - 1)
    part = place - left
    area, moment = (row[left] + part * (row[left + 1] - row[left]) for row in profile)
    return area, moment


@cache
def unit_area(shape: int) -> float:
    """Area of a shape of radius 1."""
    return _unit_picture(shape)[0].sum().item() / _FINENESS**2


def _unit_picture(shape: int) -> tuple[Tensor, Tensor]:
    """A shape of radius 1 on a fine grid [n, n], and the grid's coordinates [n]."""
    half = int(_REACH * _FINENESS)
    place = torch.arange(-half, half) + 0.5
    fineness = torch.tensor([float(_FINENESS)])
    picture = coverage(torch.tensor([shape]), place[None, None, None], place[None, None, :, None], fineness)
    return picture[0, 0], place / _FINENESS
