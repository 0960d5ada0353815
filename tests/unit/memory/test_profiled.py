"""Roles of a head profile and roles set by hand, as options of Dummy Forcing."""

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.forced import parse_forced_roles
from dummy_forcing.core.heads.profile import HeadProfile
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.dummy_forcing.profiled import with_profile

MASSES = torch.rand(3, 4, 3, generator=torch.Generator().manual_seed(0))


def profile(**method):
    """As measured by the method; roles that no programming gives, so that they can be told."""
    return HeadProfile("0", {}, (), (), (1, 1), method, MASSES, torch.ones(3, 4, dtype=torch.int64))


def roles_of(options):
    return torch.tensor(DummyForcing(**options).roles)


def test_the_roles_of_the_profile_hold_under_its_own_method():
    found = with_profile({"local_context": 2}, profile(dummy_ratio=0.25, cost="paper"))
    assert found["dummy_ratio"] == 0.25 and found["cost"] == "paper" and found["local_context"] == 2
    assert roles_of(found).equal(torch.ones(3, 4, dtype=torch.int64))
    assert found["forced_roles"] == ()


def test_roles_forced_in_the_profile_hold_without_saying_so():
    found = with_profile({}, profile(dummy_ratio=0.5, cost="paper", forced_roles="0:1=sink"))
    assert found["forced_roles"] == ((0, 1, 0),)
    assert roles_of(found).equal(torch.ones(3, 4, dtype=torch.int64))


@pytest.mark.parametrize("options", [{"dummy_ratio": 0.75}, {"cost": "normalised"}, {"forced_roles": ((1, 1, 2),)}])
def test_anything_else_is_programmed_anew_by_its_masses(options):
    method = {"dummy_ratio": 0.5, "cost": "paper"}
    found = with_profile(options, profile(**method))
    forced = options.get("forced_roles", ())
    wanted = method | {name: value for name, value in options.items() if name != "forced_roles"}
    assert roles_of(found).equal(program_heads(MASSES, **wanted, forced=forced))


def test_own_forced_roles_are_added_and_count_above_those_of_the_profile():
    measured = profile(dummy_ratio=0.5, cost="paper", forced_roles="0:1=sink, 2:2=dummy")
    found = with_profile({"forced_roles": parse_forced_roles("0:1=neighbor, 1:1=dummy")}, measured)
    assert found["forced_roles"] == parse_forced_roles("0:1=neighbor, 1:1=dummy, 2:2=dummy")
    roles = roles_of(found)
    assert roles.equal(program_heads(MASSES, 0.5, "paper", found["forced_roles"]))
    assert (roles[0, 1], roles[1, 1], roles[2, 2]) == (1, 2, 2)


def test_forcing_what_the_profile_forces_is_its_own_method():
    found = with_profile({"forced_roles": ((0, 1, 0),)}, profile(forced_roles="0:1=sink"))
    assert roles_of(found).equal(torch.ones(3, 4, dtype=torch.int64))


@pytest.mark.parametrize("method", [{"forced_roles": 5}, {"forced_roles": None}, {"dummy_ratio": "half"}])
def test_a_method_that_makes_no_sense(method):
    with pytest.raises(DummyForcingError, match=r"makes? no sense.*profile again"):
        with_profile({}, profile(**method))


def test_a_head_that_the_profile_has_not():
    with pytest.raises(DummyForcingError, match="3 layers x 4 heads"):
        with_profile({"forced_roles": ((3, 0, 0),)}, profile())
