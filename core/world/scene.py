"""The toy world's physics: coloured shapes that glide, leave the stage, turn round and come back.

Each object moves along one axis at constant speed between two turning points that lie outside the picture, so it
is out of sight for a while on each side. What the prompt does not say (size, speed, lane, shade of the
background) must be remembered over that time: that is what an attention head has to look back for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .vocabulary import COLOURS, DIRECTIONS, MAX_OBJECTS, SHAPES, ObjectPrompt

SIZE = 96  # pixels, both sides
RADIUS = (10.0, 15.0)  # pixels
SPEED = (1.2, 2.2)  # pixels a frame
PLACES = (30.0, 66.0)  # where the first and the second object start, on both axes, pixels
JITTER = 6.0  # of those places, pixels
OFFSTAGE = 2.0  # how far beyond fully hidden an object goes before it turns, pixels
FRAME_RATE = 16


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes; every tensor is [batch, objects] unless noted. Object 0 is in front.

    colour, shape, direction index the vocabulary (int64; -1 in `colour` means no such object). `start` is the
    position along the axis of motion and `lane` the one across it, both in pixels; `tone` [batch] in [0, 1] picks
    the background.
    """

    colour: Tensor
    shape: Tensor
    direction: Tensor
    radius: Tensor
    speed: Tensor
    start: Tensor
    lane: Tensor
    tone: Tensor

    def __len__(self) -> int:
        return self.tone.shape[0]

    def objects(self, index: int) -> tuple[ObjectPrompt, ...]:
        """What a prompt would say of scene `index`."""
        return tuple(
            ObjectPrompt(COLOURS[c], SHAPES[s], DIRECTIONS[d])
            for c, s, d in zip(
                self.colour[index].tolist(),
                self.shape[index].tolist(),
                self.direction[index].tolist(),
                strict=True,
            )
            if c >= 0
        )


def draw_scenes(count: int, generator: torch.Generator, *, single_share: float = 0.15) -> Scenes:
    """Draw `count` random scenes; a share of them with a single object.

    The first object starts in the upper left, the second in the lower right: apart, so that they never begin as one
    blob, and with so little left open by the prompt that a few denoising passes settle on a first frame. Those that
    move at right angles may meet a chunk or two later.
    """
    shape = (count, MAX_OBJECTS)

    def uniform(low: float, high: float, size=shape) -> Tensor:
        return low + (high - low) * torch.rand(size, generator=generator)

    colours = torch.rand(count, len(COLOURS), generator=generator).argsort(1)[:, :MAX_OBJECTS]
    single = torch.rand(count, generator=generator) < single_share
    colours[single, 1] = -1
    return Scenes(
        colour=colours,
        shape=torch.randint(len(SHAPES), shape, generator=generator),
        direction=torch.randint(len(DIRECTIONS), shape, generator=generator),
        radius=uniform(*RADIUS),
        speed=uniform(*SPEED),
        start=torch.tensor(PLACES) + uniform(-JITTER, JITTER),
        lane=torch.tensor(PLACES) + uniform(-JITTER, JITTER),
        tone=uniform(0, 1, (count,)),
    )


def centres(scenes: Scenes, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Object centres at the given frame numbers [F]: x and y, each [batch, objects, F], in pixels."""
    sign = torch.where(is_positive(scenes.direction), 1.0, -1.0)
    along = bounce(
        scenes.start[..., None], (sign * scenes.speed)[..., None], scenes.radius[..., None], frames.float()
    )
    return _to_xy(scenes.direction[..., None], along, scenes.lane[..., None].expand_as(along))


def bounce(start: Tensor, velocity: Tensor, radius: Tensor, frames: Tensor) -> Tensor:
    """Position along the axis of motion: uniform motion folded between the two turning points."""
    low, high = -(radius + OFFSTAGE), SIZE + radius + OFFSTAGE
    span = high - low
    phase = torch.remainder(start + velocity * frames - low, 2 * span)
    return low + torch.where(phase > span, 2 * span - phase, phase)


def is_horizontal(direction: Tensor) -> Tensor:
    """True for left and right."""
    return direction < 2


def is_positive(direction: Tensor) -> Tensor:
    """True where the coordinate grows at first: right, and down (y points down)."""
    return (direction == DIRECTIONS.index("right")) | (direction == DIRECTIONS.index("down"))


def _to_xy(direction: Tensor, along: Tensor, lane: Tensor) -> tuple[Tensor, Tensor]:
    horizontal = is_horizontal(direction)
    return torch.where(horizontal, along, lane), torch.where(horizontal, lane, along)
