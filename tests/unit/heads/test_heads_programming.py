from itertools import product
from pathlib import Path

import pytest
import torch
from head_programming_cases import retained
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.heads.roles import HeadRole

GOLDEN = Path(__file__).parents[2] / "data" / "dummy_forcing_50.safetensors"
COSTS = ["normalised", "paper"]


def random_masses(layers, heads, seed):
    logits = 2 * torch.randn(layers, heads, 3, generator=torch.Generator().manual_seed(seed))
    return logits.softmax(-1)


def retained_mass(masses, roles):
    """The paper's objective: mean over heads of the mass that each keeps under its role."""
    return retained(masses.tolist(), roles.tolist())


def best_value(masses, dummies):
    """Brute force: the best objective among all assignments with that many dummies."""
    shape = masses.shape[:2]
    assignments = (torch.tensor(each).view(shape) for each in product(range(3), repeat=shape.numel()))
    fitting = (roles for roles in assignments if int((roles == HeadRole.DUMMY).sum()) == dummies)
    return max(retained_mass(masses, roles) for roles in fitting)


def test_golden_scores_give_the_golden_roles():
    golden = load_file(GOLDEN)
    assert program_heads(golden["scores"], 8 / 16, "normalised").equal(golden["head_roles"])


@settings(max_examples=15, deadline=None)
@given(layers=st.integers(1, 2), heads=st.integers(1, 3), dummies=st.integers(0, 6), seed=st.integers(0, 999))
def test_paper_cost_is_optimal(layers, heads, dummies, seed):
    masses, total = random_masses(layers, heads, seed), layers * heads
    dummies = min(dummies, total)
    roles = program_heads(masses, dummies / total, "paper")
    assert int((roles == HeadRole.DUMMY).sum()) == dummies
    assert retained_mass(masses, roles) == pytest.approx(best_value(masses, dummies), abs=1e-12)


@given(low=st.floats(0, 1), high=st.floats(0, 1), seed=st.integers(0, 999), cost=st.sampled_from(COSTS))
def test_more_dummies_only_add_to_the_set(low, high, seed, cost):
    low, high = sorted((low, high))
    masses = random_masses(4, 5, seed)
    few, many = program_heads(masses, low, cost), program_heads(masses, high, cost)
    assert int((few == HeadRole.DUMMY).sum()) == round(low * 20)
    assert int((many == HeadRole.DUMMY).sum()) == round(high * 20)
    changed = few != many
    assert (many[changed] == HeadRole.DUMMY).all()
    assert retained_mass(masses, many) <= retained_mass(masses, few) + 1e-12


def test_value_by_hand():
    masses = torch.tensor([[[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.2, 0.1, 0.7]]])
    assert retained_mass(masses, torch.tensor([[0, 1, 2]])) == pytest.approx((0.8 + 0.9 + 0.7) / 3)
    assert program_heads(masses, 1 / 3, "paper").tolist() == [[0, 1, 2]]


def test_the_two_costs_differ_when_one_bin_outweighs_the_other():
    """All heads look at history more; relative to the others, head 0 is a sink head."""
    masses = torch.tensor([[[0.20, 0.30, 0.50], [0.01, 0.40, 0.59], [0.01, 0.35, 0.64]]])
    assert program_heads(masses, 0.0, "paper").tolist() == [[1, 1, 1]]
    assert program_heads(masses, 0.0, "normalised").tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("cost", COSTS)
def test_ties_go_to_the_lowest_index_and_to_the_sink(cost):
    masses = torch.tensor([0.25, 0.25, 0.5]).expand(2, 3, 3)
    assert program_heads(masses, 0.5, cost).tolist() == [[2, 2, 2], [0, 0, 0]]


def test_empty_bins_do_not_divide_by_zero():
    masses = torch.tensor([0.0, 0.0, 1.0]).expand(2, 2, 3)
    assert program_heads(masses, 0.25, "normalised").tolist() == [[2, 0], [0, 0]]


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan")])
def test_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(DummyForcingError, match="from 0 to 1"):
        program_heads(random_masses(2, 2, 0), ratio)


def test_unknown_cost_is_refused():
    with pytest.raises(DummyForcingError, match="normalised, paper"):
        program_heads(random_masses(2, 2, 0), 0.5, "authors")


def test_overflow_is_refused():
    with pytest.raises(DummyForcingError, match="not finite"):
        program_heads(torch.full((2, 2, 3), float("nan")), 0.5)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="layers, heads, 3"):
        program_heads(torch.zeros(2, 2), 0.5)
