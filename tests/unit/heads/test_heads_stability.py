import pytest
import torch

from dummy_forcing.core.heads.stability import core_set_ratio, stability


def test_core_set_by_hand():
    first, second = torch.tensor([[2, 2, 0, 1]]), torch.tensor([[2, 0, 2, 1]])
    assert core_set_ratio([first, second]) == 0.5
    assert core_set_ratio([first, first]) == 1.0
    assert core_set_ratio([first]) == 1.0


def test_unequal_sets_divide_by_the_mean_size():
    assert core_set_ratio([torch.tensor([[2, 2, 2]]), torch.tensor([[2, 0, 1]])]) == 0.5


def test_no_dummies_are_perfectly_stable():
    assert core_set_ratio([torch.tensor([[0, 1]]), torch.tensor([[1, 0]])]) == 1.0


def test_no_sets_are_an_error():
    with pytest.raises(ValueError, match="no role sets"):
        core_set_ratio([])


def weak_head(index):
    """Masses [1, 4, 3] in which one head hardly looks at history."""
    masses = torch.tensor([0.3, 0.3, 0.4]).repeat(1, 4, 1)
    masses[0, index] = torch.tensor([0.05, 0.05, 0.9])
    return masses


@pytest.mark.parametrize("axis", ["prompts", "chunks", "timesteps"])
def test_only_the_axis_that_varies_is_unstable(axis):
    samples = torch.stack([weak_head(0), weak_head(2)])  # [2, 1, 4, 3]
    place = {"prompts": (2, 1, 1), "chunks": (1, 2, 1), "timesteps": (1, 1, 2)}[axis]
    samples = samples.view(*place, 1, 4, 3).expand(2, 2, 2, 1, 4, 3)
    expected = {name: float(name != axis) for name in ("prompts", "chunks", "timesteps")}
    assert stability(samples, 0.25, "paper") == expected


def test_wrong_number_of_axes_is_an_error():
    with pytest.raises(ValueError, match="6 axes"):
        stability(torch.zeros(2, 2, 3), 0.5)


def test_heads_forced_to_be_dummies_are_common_to_all_sets():
    samples = torch.stack([weak_head(0), weak_head(2)]).view(2, 1, 1, 1, 4, 3)
    assert stability(samples, 0.25, "paper", ((0, 1, 2),))["prompts"] == 1.0
    assert stability(samples, 0.5, "paper", ((0, 1, 2),))["prompts"] == 0.5
