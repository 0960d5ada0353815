import torch

from dummy_forcing.core.heads.roles import HeadRole, count_roles


def test_numbers_are_those_of_the_golden_data():
    assert [role.value for role in HeadRole] == [0, 1, 2]
    assert [role.label for role in HeadRole] == ["sink", "neighbor", "dummy"]


def test_colours_are_distinct_hex():
    colours = [role.colour for role in HeadRole]
    assert len(set(colours)) == 3
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in colours)


def test_count_roles_counts_absent_roles_too():
    assert count_roles(torch.tensor([[0, 0, 2], [2, 2, 0]])) == {"sink": 3, "neighbor": 0, "dummy": 3}
