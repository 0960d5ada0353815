"""The toy world's physics: constant speed on one lane, out of sight, and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.world.scene import (
    JITTER,
    OFFSTAGE,
    PLACES,
    RADIUS,
    SIZE,
    SPEED,
    bounce,
    centres,
    draw_scenes,
    is_horizontal,
    is_positive,
)
from dummy_forcing.core.world.vocabulary import DIRECTIONS, parse_prompt, write_prompt

FRAMES = torch.arange(160)


def draw(count: int = 200, seed: int = 0, **options):
    return draw_scenes(count, torch.Generator().manual_seed(seed), **options)


def along_and_across(scenes):
    x, y = centres(scenes, FRAMES)
    horizontal = is_horizontal(scenes.direction)[..., None]
    return torch.where(horizontal, x, y), torch.where(horizontal, y, x)


def test_same_seed_same_scenes():
    first, again, other = draw(5), draw(5), draw(5, seed=1)
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in vars(first))
    assert not torch.equal(first.start, other.start)


def test_hidden_quantities_stay_in_their_ranges():
    scenes = draw()
    for values, (low, high) in [(scenes.radius, RADIUS), (scenes.speed, SPEED), (scenes.tone, (0, 1))]:
        assert low <= values.min() and values.max() <= high
        assert values.std() > 0.2 * (high - low)


def test_two_objects_differ_in_colour_and_place():
    scenes = draw(1000, single_share=0)
    assert (scenes.colour[:, 0] != scenes.colour[:, 1]).all() and (scenes.colour >= 0).all()
    assert ((scenes.lane - torch.tensor(PLACES)).abs() <= JITTER).all()
    assert ((scenes.start - torch.tensor(PLACES)).abs() <= JITTER).all()


def test_two_objects_begin_apart():
    scenes = draw(1000, single_share=0)
    x, y = centres(scenes, torch.tensor([0]))
    distance = torch.hypot(x[:, 0, 0] - x[:, 1, 0], y[:, 0, 0] - y[:, 1, 0])
    assert (distance > scenes.radius.sum(1)).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_share_of_single_objects(share):
    singles = (draw(1000, single_share=share).colour[:, 1] < 0).float().mean()
    assert singles == pytest.approx(share, abs=0.05 if 0 < share < 1 else 0)


def test_scenes_speak_the_language():
    scenes = draw(50)
    for index in range(len(scenes)):
        things = scenes.objects(index)
        assert len(things) == (scenes.colour[index] >= 0).sum()
        assert parse_prompt(write_prompt(things)) == things


def test_objects_begin_in_full_view_and_move_as_the_prompt_says():
    scenes = draw()
    along, across = along_and_across(scenes)
    for place in (along[..., 0], across[..., 0]):
        assert (place > scenes.radius).all() and (place < SIZE - scenes.radius).all()
    sign = torch.where(is_positive(scenes.direction), 1, -1)
    torch.testing.assert_close(along[..., 1] - along[..., 0], sign * scenes.speed, atol=1e-3, rtol=0)


def test_axes_of_the_direction_words():
    scenes = draw()
    x, y = centres(scenes, torch.tensor([0, 1]))
    moved = {"right": x, "down": y, "left": -x, "up": -y}
    for index, word in enumerate(DIRECTIONS):
        chosen = scenes.direction == index
        assert (moved[word].diff(dim=-1)[chosen] > 0).all()


def test_objects_leave_the_picture_and_return_on_their_lane():
    scenes = draw()
    along, across = along_and_across(scenes)
    assert torch.equal(across, scenes.lane[..., None].expand_as(across))
    radius = scenes.radius[..., None]
    hidden = (along < -radius) | (along > SIZE + radius)
    left = hidden.int().cumsum(-1) > 0
    assert hidden.any(-1).all()
    assert (left & ~hidden).any(-1).all()
    assert ((along >= -radius - OFFSTAGE - 1e-3) & (along <= SIZE + radius + OFFSTAGE + 1e-3)).all()


PLACE = st.floats(-RADIUS[0], SIZE + RADIUS[0]).map(torch.tensor)
VELOCITY = st.floats(-3, 3).map(torch.tensor)
RADII = st.floats(*RADIUS).map(torch.tensor)


@settings(deadline=None, max_examples=50)
@given(PLACE, VELOCITY, RADII)
def test_bounce_keeps_its_speed_between_the_turning_points(start, velocity, radius):
    path = bounce(start, velocity, radius, FRAMES.float())
    steps = path.diff().abs()
    assert path[0] == pytest.approx(start.item(), abs=1e-3)
    assert (steps <= velocity.abs() + 1e-3).all()
    span = SIZE + 2 * (radius + OFFSTAGE)
    turns = len(FRAMES) * velocity.abs() / span + 1
    assert ((steps - velocity.abs()).abs() > 1e-3).sum() <= turns


@settings(deadline=None, max_examples=50)
@given(PLACE, VELOCITY.filter(lambda velocity: abs(velocity) > 0.5), RADII)
def test_bounce_repeats(start, velocity, radius):
    period = 2 * (SIZE + 2 * (radius + OFFSTAGE)) / velocity.abs()
    torch.testing.assert_close(
        bounce(start, velocity, radius, FRAMES + period),
        bounce(start, velocity, radius, FRAMES.float()),
        atol=2e-3,
        rtol=0,
    )
