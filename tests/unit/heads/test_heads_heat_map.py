import pytest
import torch
from PIL import Image, ImageColor

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.heat_map import draw_heat_map
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.heads.roles import HeadRole


def example(layers, heads):
    masses = torch.randn(layers, heads, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    return masses, program_heads(masses, 0.5)


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (4, 4), (30, 12), (40, 40)])
def test_picture_is_of_a_size_to_look_at(layers, heads):
    image = draw_heat_map(*example(layers, heads), title="A title")
    assert image.mode == "RGB"
    assert min(image.size) >= 300
    assert max(image.size) <= 1400


def test_each_role_appears_in_its_full_colour():
    image = draw_heat_map(*example(6, 6))
    colours = {colour for _, colour in image.getcolors(maxcolors=1 << 24)}
    assert {ImageColor.getrgb(role.colour) for role in HeadRole} <= colours


def test_a_cell_darkens_with_its_mass():
    masses = torch.tensor([[[0.1, 0.0, 0.9], [0.6, 0.0, 0.4]]])
    roles = torch.zeros(1, 2, dtype=torch.int64)
    image = draw_heat_map(masses, roles)
    pale, full = image.getpixel((24 + 52 + 4, 24 + 58 + 4)), image.getpixel((24 + 52 + 72 + 4, 24 + 58 + 4))
    assert full == ImageColor.getrgb(HeadRole.SINK.colour)
    assert sum(pale) > sum(full)


def test_a_role_without_heads_or_mass_does_not_fail():
    draw_heat_map(torch.zeros(2, 2, 3), torch.full((2, 2), HeadRole.DUMMY.value))


def test_a_long_title_stays_inside():
    image = draw_heat_map(*example(4, 4), title="word " * 200)
    assert image.crop((image.width - 20, 0, image.width, 70)).getcolors() == [(20 * 70, (255, 255, 255))]


def test_path_is_written(tmp_path):
    image = draw_heat_map(*example(4, 4), path=tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as saved:
        assert saved.tobytes() == image.tobytes()


@pytest.mark.parametrize("name", ["missing/map.png", "map.unknown"])
def test_a_path_that_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(DummyForcingError, match="Cannot write heat map"):
        draw_heat_map(*example(4, 4), path=tmp_path / name)
