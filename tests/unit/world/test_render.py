"""Pictures of the toy world against geometry."""

import math

import pytest
import torch

from dummy_forcing.core.world.render import PALETTE, coverage, render
from dummy_forcing.core.world.scene import OFFSTAGE, SIZE, Scenes, draw_scenes
from dummy_forcing.core.world.vocabulary import COLOURS, SHAPES


def scene(colour=(0, -1), shape=(0, 0), start=(48.0, 48.0), lane=(48.0, 48.0), tone=0.5) -> Scenes:
    """One scene of objects that move right at 2 px a frame with radius 12."""
    return Scenes(
        colour=torch.tensor([colour]),
        shape=torch.tensor([shape]),
        direction=torch.tensor([[1, 1]]),
        radius=torch.full((1, 2), 12.0),
        speed=torch.full((1, 2), 2.0),
        start=torch.tensor([start]),
        lane=torch.tensor([lane]),
        tone=torch.tensor([tone]),
    )


def picture(radius=12.0, x=32.0, y=32.0, side=64) -> torch.Tensor:
    """Coverage of every shape [shapes, side, side]."""
    grid = torch.arange(side) + 0.5
    shapes = torch.arange(len(SHAPES))
    radii = torch.full((len(SHAPES),), radius)
    return coverage(shapes, (grid - x)[None, None, None], (grid - y)[None, None, :, None], radii)[:, 0]


def test_size_type_and_range():
    drawn = draw_scenes(3, torch.Generator().manual_seed(0))
    video = render(drawn, torch.arange(5))
    assert video.shape == (3, 5, SIZE, SIZE, 3) and video.dtype == torch.float32
    assert video.min() >= 0 and video.max() <= 1


def test_frames_and_scenes_do_not_depend_on_their_company():
    drawn = draw_scenes(3, torch.Generator().manual_seed(0))
    video = render(drawn, torch.arange(20))
    assert torch.equal(render(drawn, torch.tensor([7, 3])), video[:, [7, 3]])
    second = Scenes(**{name: values[1:2] for name, values in vars(drawn).items()})
    assert torch.equal(render(second, torch.arange(20))[0], video[1])


@pytest.mark.parametrize("colour", range(len(COLOURS)))
def test_an_object_has_exactly_its_palette_colour(colour):
    for shape in range(len(SHAPES)):
        frame = render(scene((colour, -1), (shape, 0)), torch.zeros(1))[0, 0]
        assert torch.equal(frame[48, 48], PALETTE[colour])


def test_no_object_no_trace():
    empty = render(scene((-1, -1)), torch.arange(3))
    assert torch.equal(empty, empty[:, :1, :, :1].expand_as(empty))
    assert empty.max() < 0.3 and (empty.diff(dim=2) < 0).all()


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_an_object_is_out_of_sight_at_its_turning_point(shape):
    turn = torch.tensor([(SIZE + 12 + OFFSTAGE - 48) / 2])
    left = (render(scene((0, -1), (shape, 0)), turn) - render(scene((-1, -1)), turn)).abs().sum(-1)
    assert (left > 0).sum() <= 3  # pixels: the tip of a triangle


def test_object_0_is_in_front():
    frame = render(scene((0, 4), (0, 1), start=(48.0, 54.0)), torch.zeros(1))[0, 0]
    assert torch.equal(frame[48, 50], PALETTE[0]) and torch.equal(frame[48, 63], PALETTE[4])


def test_palette_colours_are_far_apart():
    assert torch.pdist(PALETTE).min() > 0.45


def test_areas():
    circle, square, triangle = picture().sum((1, 2)).tolist()
    assert circle == pytest.approx(math.pi * 144, rel=0.01)
    assert square == pytest.approx(circle, rel=0.02)
    assert 0.75 * circle < triangle < circle


@pytest.mark.parametrize(("x", "y"), [(32.0, 32.0), (31.7, 33.2), (30.5, 29.9)])
def test_centroids_are_the_centres(x, y):
    inside = picture(x=x, y=y)
    grid = torch.arange(64) + 0.5
    area = inside.sum((1, 2))
    torch.testing.assert_close((inside.sum(1) @ grid) / area, torch.full((3,), x), atol=0.1, rtol=0)
    torch.testing.assert_close((inside.sum(2) @ grid) / area, torch.full((3,), y), atol=0.1, rtol=0)


def test_symmetries():
    inside = picture()
    assert torch.equal(inside, inside.flip(2))
    assert torch.equal(inside[:2], inside[:2].flip(1)) and torch.equal(inside[:2], inside[:2].mT)


def test_triangles_point_up():
    widths = picture()[SHAPES.index("triangle")].sum(1)
    rows = widths[widths > 1]
    assert (rows.diff()[:-1] > 0).all() and len(rows) == pytest.approx(2.1 * 12, abs=2)
