"""How well a toy-world video does what its prompt says, measured from its pixels with no judge network.

Per object: is the shape right, is the colour right, and does it move as the world's physics demands, out of view
and back on the same lane at the same speed? The last is what a memory that forgets too much loses.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .detect import COLOUR_REACH, Detections, detect, moments
from .motion import Motion, Track, agreement, fit_motion, unit_area
from .overlap import RADII, expected_mask, fit_overlap, overlap
from .render import PALETTE, coverage
from .scene import SIZE, is_horizontal, is_positive
from .vocabulary import COLOURS, DIRECTIONS, SHAPES, ObjectPrompt, parse_prompt

_ADEQUATE_AREA = 120.0  # pixels below which shapes look alike
_ENOUGH_CLEAR = 8  # frames
_LEAST_SHARE = 0.3  # of the full area: below it, nobody need see the colour
_INTRUDER_COST = 2.5  # an unprompted object covers about 4 % of the picture: a tenth of the total


@dataclass(frozen=True)
class ObjectScore:
    """One prompted object; scores in [0, 1]. `motion_fit` is None if the object was never seen."""

    prompt: str
    shape: float
    colour: float
    motion: float
    total: float
    motion_fit: Motion | None


@dataclass(frozen=True)
class VideoScore:
    """`total` in [0, 1] is the mean over objects, lowered a little by `intruders`: the share of pixels that show
    palette colours nobody asked for."""

    total: float
    intruders: float
    objects: tuple[ObjectScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)


@dataclass(frozen=True)
class _Explanation:
    """One object's track, the motion fitted to it and the mask [F, H, W] which that motion would show."""

    track: Track
    fit: Motion
    mask: Tensor


@torch.no_grad()
def score_video(frames: Tensor, prompt: str, *, excerpt: bool = False) -> VideoScore:
    """Measure a toy-world video against its prompt.

    Args:
        frames: [F, 96, 96, 3] floating point in [0, 1], F >= 1; from about 5 frames on, motion says something.
        prompt: a sentence of the toy world.
        excerpt: the frames are cut out of the middle of a video, so that objects may be anywhere on their way and
            on the way back. Fitted speeds against the prompted direction are then negative.

    Raises:
        DummyForcingError: frames of another shape or dtype, or a prompt outside the vocabulary.
    """
    things = parse_prompt(prompt)
    _check(frames)
    video = frames.detach().float().cpu().nan_to_num(0).clamp(0, 1)
    found, intruders = detect(video, [COLOURS.index(thing.colour) for thing in things])
    objects = tuple(_score_object(found, index, thing, excerpt) for index, thing in enumerate(things))
    total = sum(item.total for item in objects) / len(objects)
    return VideoScore(total * max(0.0, 1 - _INTRUDER_COST * intruders), intruders, objects)


def _check(frames: Tensor) -> None:
    if frames.ndim != 4 or tuple(frames.shape[1:]) != (SIZE, SIZE, 3) or not len(frames):
        raise DummyForcingError(
            f"the toy world is scored on frames [F, {SIZE}, {SIZE}, 3], got {list(frames.shape)}; "
            f"generate at {SIZE}x{SIZE} and put channels last"
        )
    if not frames.is_floating_point():
        raise DummyForcingError(f"the toy world is scored on floats in [0, 1], got {frames.dtype}; divide by 255")


def _score_object(found: Detections, index: int, thing: ObjectPrompt, excerpt: bool) -> ObjectScore:
    if not found.visible[index].any():
        return ObjectScore(str(thing), 0.0, 0.0, 0.0, 0.0, None)
    shapes, best = _explain(found, index, thing, excerpt)
    shape = (shapes == SHAPES.index(thing.shape)).float().mean().item() if len(shapes) else 0.0
    area, x, y = moments(best.mask)
    full_area = unit_area(best.track.shape) * best.fit.radius**2
    residual = torch.hypot(x - found.x[index], y - found.y[index])
    motion = agreement(residual, area / full_area, found.area[index] / full_area, found.visible[index])
    colour = _colour_score(found, index, thing, area / full_area)
    terms = (shape, colour, motion.mean().item())
    return ObjectScore(str(thing), *terms, sum(terms) / 3, best.fit)


def _explain(found: Detections, index: int, thing: ObjectPrompt, excerpt: bool) -> tuple[Tensor, _Explanation]:
    """The shape seen in each frame that shows one (any number of frames), and what explains them best."""
    adequate = found.visible[index] & (found.area[index] > _ADEQUATE_AREA)
    clear = adequate & found.clear[index]
    if clear.any():
        shapes = _outlined_shapes(found, index, clear)
        return shapes, _fit(found, index, thing, int(shapes.mode().values), excerpt)
    explanations = [_fit(found, index, thing, shape, excerpt) for shape in range(len(SHAPES))]
    overlaps = torch.stack([overlap(item.mask, found.mask[index]) for item in explanations])
    return overlaps[:, adequate].argmax(0), explanations[int(overlaps.mean(1).argmax())]


def _fit(found: Detections, index: int, thing: ObjectPrompt, shape: int, excerpt: bool) -> _Explanation:
    """Fit centroids, and pixels too where few frames have the object's true centroid."""
    front = found.mask[:index].sum(0)
    track = _track(found, index, thing, shape, excerpt)
    fit = fit_motion(track)
    clear = found.clear[index]
    if clear.sum() < _ENOUGH_CLEAR and not clear[found.visible[index]].all():
        fit = fit_overlap(track, found.mask[index], front, fit)
    return _Explanation(track, fit, expected_mask(track, fit, front))


def _outlined_shapes(found: Detections, index: int, use: Tensor) -> Tensor:
    """The shape that best matches the outline in each of the frames `use`: each is tried at three radii."""
    count = int(use.sum())
    crop, dx, dy = _crop(found.mask[index, use], found.x[index, use], found.y[index, use])
    scores = []
    for shape in range(len(SHAPES)):
        radius = (found.area[index, use] / unit_area(shape)).sqrt()
        for scale in (0.94, 1.0, 1.06):
            template = coverage(torch.full((count,), shape), dx, dy, scale * radius)[:, 0]
            scores.append(overlap(template, crop))
    return torch.stack(scores).argmax(0) // 3


def _crop(mask: Tensor, x: Tensor, y: Tensor, half: int = 26) -> tuple[Tensor, Tensor, Tensor]:
    """Windows [N, 2 half, 2 half] around centroids, and their pixels' offsets dx, dy [N, 1, 1 or H, W or 1]."""
    padded = torch.nn.functional.pad(mask, (half, half, half, half))
    place = torch.arange(2 * half)
    columns, rows = x.long()[:, None] + place, y.long()[:, None] + place
    crop = padded[torch.arange(len(mask))[:, None, None], rows[:, :, None], columns[:, None, :]]
    dx, dy = columns - half + 0.5 - x[:, None], rows - half + 0.5 - y[:, None]
    return crop, dx[:, None, None, :], dy[:, None, :, None]


def _track(found: Detections, index: int, thing: ObjectPrompt, shape: int, excerpt: bool) -> Track:
    direction = torch.tensor(DIRECTIONS.index(thing.direction))
    horizontal = bool(is_horizontal(direction))
    x, y = found.x[index], found.y[index]
    full_area = _full_area(found, index)
    return Track(
        along=x if horizontal else y,
        across=y if horizontal else x,
        share=found.area[index] / full_area,
        visible=found.visible[index],
        at_border=found.at_border[index],
        occluded=found.touching[index] & (index > 0),  # object 0 is in front
        shape=shape,
        horizontal=horizontal,
        sign=1.0 if is_positive(direction) else -1.0,
        radius=(full_area / unit_area(shape)).sqrt().clamp(*RADII).item(),
        excerpt=excerpt,
    )


def _full_area(found: Detections, index: int) -> Tensor:
    clear = found.clear[index]
    if clear.any():
        return found.area[index, clear].median()
    return found.area[index, found.visible[index]].max()


def _colour_score(found: Detections, index: int, thing: ObjectPrompt, expected_share: Tensor) -> float:
    """Mean closeness to the palette colour over the frames in which the fit would show it; missing counts 0."""
    due = expected_share > _LEAST_SHARE
    if not due.any():
        return 0.0
    distance = (found.colour[index] - PALETTE[COLOURS.index(thing.colour)]).norm(dim=-1)
    close = (1 - distance / COLOUR_REACH).clamp(min=0) * found.visible[index]
    return close[due].mean().item()
