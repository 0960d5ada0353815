"""Roles set by hand, as a text and in the programming."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.forced import (
    are_forced_roles,
    check_forced_roles,
    force_roles,
    format_forced_roles,
    merge_forced_roles,
    parse_forced_roles,
)
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.heads.roles import HeadRole

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
CASES = json.loads((Path(__file__).parents[2] / "data" / "head_programming.json").read_text("utf-8"))["cases"]

places = st.tuples(st.integers(0, 5), st.integers(0, 4))
by_hand = st.dictionaries(places, st.sampled_from([SINK, NEIGHBOR, DUMMY])).map(
    lambda found: tuple((*place, role) for place, role in sorted(found.items()))
)


def test_the_text_by_hand():
    forced = parse_forced_roles("3:5=sink, 10:2=dummy, 0:1=neighbor")
    assert forced == ((0, 1, NEIGHBOR), (3, 5, SINK), (10, 2, DUMMY))
    assert format_forced_roles(forced) == "0:1=neighbor, 3:5=sink, 10:2=dummy"


@pytest.mark.parametrize("text", ["", "  ", ",", " , ,", "\n"])
def test_an_empty_text_forces_nothing(text):
    assert parse_forced_roles(text) == ()
    assert format_forced_roles(()) == ""


@pytest.mark.parametrize("text", ["3:5=sink", " 3 : 5 = sink ,", "3:5=sink,3:5=sink", "03:05=sink", "\t3:5\n=sink"])
def test_spaces_and_repetitions_are_free(text):
    assert parse_forced_roles(text) == ((3, 5, SINK),)


@given(by_hand)
def test_a_text_says_what_it_was_made_of(forced):
    assert parse_forced_roles(format_forced_roles(forced)) == forced
    assert are_forced_roles(forced)


@pytest.mark.parametrize(
    "text",
    ["3=sink", "3:5", "3:5=", "3:5=cat", "3:5=Sink", "-1:2=sink", "3:5=sink 4:5=sink", "3;5=sink", "sink",
     "1.5:2=dummy", "٣:5=sink", "9999999:1=sink", "3:5=sink, x" + 1000 * "y", "3:5=sink\n4:5=sink"],
)  # fmt: skip
def test_another_text_is_refused_with_an_example(text):
    with pytest.raises(
        DummyForcingError, match=r"sink, neighbor, dummy, for example '3:5=sink, 10:2=dummy'"
    ) as error:
        parse_forced_roles(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


def test_a_head_has_one_role():
    with pytest.raises(DummyForcingError, match=r"head 3:5 is forced to be sink and dummy; leave one"):
        parse_forced_roles("3:5=sink, 3:5=dummy")


def test_of_two_texts_the_later_one_holds_head_by_head():
    below, above = parse_forced_roles("0:0=sink, 0:1=dummy"), parse_forced_roles("0:1=neighbor, 1:0=dummy")
    assert format_forced_roles(merge_forced_roles(below, above)) == "0:0=sink, 0:1=neighbor, 1:0=dummy"
    assert merge_forced_roles(below, ()) == merge_forced_roles((), below) == below


@pytest.mark.parametrize("forced", ["3:0=sink", "0:4=dummy", "0:0=sink, 29:1=dummy"])
def test_a_head_that_there_is_not(forced):
    with pytest.raises(
        DummyForcingError, match=r"3 layers x 4 heads \(0:0 to 2:3\); correct or remove the forced roles"
    ):
        check_forced_roles(parse_forced_roles(forced), 3, 4)
    with pytest.raises(DummyForcingError, match="3 layers x 4 heads"):
        program_heads(torch.ones(3, 4, 3), 0.5, forced=parse_forced_roles(forced))


@pytest.mark.parametrize(
    "value",
    [((0, 1),), ((0, 0, 3),), ((0, 0, "sink"),), ((-1, 0, 0),), ((0.5, 0, 0),), (3,), "0:0=sink", None,
     ((1, 0, 0), (0, 0, 0)), ((0, 0, 0), (0, 0, 1))],
)  # fmt: skip
def test_what_are_no_forced_roles(value):
    assert not are_forced_roles(value)


def test_a_table_with_roles_by_hand():
    roles = torch.zeros(2, 2, dtype=torch.int64)
    assert force_roles(roles, ((0, 1, DUMMY),)).tolist() == [[0, 2], [0, 0]]
    assert roles.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_heads_are_programmed_as_the_browser_does(case):
    """The same cases in tests/web; tests/shared/head_programming_cases.py makes them."""
    masses = torch.tensor(case["masses"], dtype=torch.float64)
    roles = program_heads(masses, case["dummy_ratio"], case["cost"], parse_forced_roles(case["forced_roles"]))
    assert roles.tolist() == case["roles"]


@given(by_hand, st.floats(0, 1), st.sampled_from(["normalised", "paper"]), st.integers(0, 99))
def test_forced_heads_keep_their_role_and_count(forced, ratio, cost, seed):
    masses = torch.rand(6, 5, 3, generator=torch.Generator().manual_seed(seed))
    free, roles = program_heads(masses, 0, cost), program_heads(masses, ratio, cost, forced)
    hand = {(layer, head): role for layer, head, role in forced}
    assert all(roles[place] == role for place, role in hand.items())
    dummies, given_dummies = int((roles == DUMMY).sum()), sum(role == DUMMY for role in hand.values())
    assert dummies == min(max(round(ratio * 30), given_dummies), given_dummies + 30 - len(hand))
    others = [place for place in torch.ones(6, 5).nonzero().tolist() if tuple(place) not in hand]
    assert all(roles[tuple(place)] in (DUMMY, free[tuple(place)]) for place in others)


@given(by_hand, st.floats(0, 1))
def test_forcing_what_is_so_anyway_changes_nothing(forced, ratio):
    masses = torch.rand(6, 5, 3, generator=torch.Generator().manual_seed(1))
    roles = program_heads(masses, ratio)
    same = tuple((layer, head, int(roles[layer, head])) for layer, head, _ in forced)
    assert program_heads(masses, ratio, forced=same).equal(roles)
