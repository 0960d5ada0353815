import dataclasses

import pytest

from dummy_forcing.core.checkpoints.families import FAMILIES, family

WARPED = (1.0, 0.9375, 0.625 * 4 / 3, 0.625, 0.0)


@pytest.mark.parametrize(
    ("name", "chunk", "size", "licence"),
    [
        ("toy-world", 3, (96, 96), "Apache-2.0"),
        ("self-forcing", 3, (480, 832), "CC-BY-NC-SA-4.0"),
        ("causal-forcing", 3, (480, 832), "Apache-2.0"),
        ("causal-forcing-framewise", 1, (480, 832), "Apache-2.0"),
    ],
)
def test_rows(name, chunk, size, licence):
    row = family(name)
    assert (row.name, row.chunk_frames, row.pixel_size, row.licence) == (name, chunk, size, licence)
    assert (row.latent_frames, row.shift) == (21, 5.0)
    assert row.sigmas == pytest.approx(WARPED)


def test_the_table_is_consistent():
    assert all(row.name == name for name, row in FAMILIES.items())
    assert all(row.latent_frames % row.chunk_frames == 0 for row in FAMILIES.values())
    assert len({row.title for row in FAMILIES.values()}) == len(FAMILIES)


def test_rows_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        family("self-forcing").shift = 3.0


def test_an_unknown_family(refused):
    with refused("'self_forcing'", "toy-world, self-forcing, causal-forcing, causal-forcing-framewise"):
        family("self_forcing")
