import re
from dataclasses import replace

import pytest

from dummy_forcing.core.bench.typed_memories import parse_policies, parse_policy, with_roles
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnSA
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.window import RollingWindow, Window


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("dense", Dense()),
        ("window", Window()),
        ("window:9", Window(size=9)),
        ("window:9:1", Window(sink=1, size=9)),
        ("rolling-window:18", RollingWindow(size=18)),
        ("dummy-forcing", DummyForcing()),
        ("dummy-forcing:0.25", DummyForcing(0.25)),
        ("dummy-forcing:0.25:2", DummyForcing(0.25, local_context=2)),
        ("dummy-forcing:0:all", DummyForcing(0.0, local_context=None)),
    ],
)
def test_what_is_typed(text, keep):
    assert parse_policy(text) == MemoryConfig(keep)


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("dense+light-forcing", MemoryConfig(select=LightForcing())),
        ("window:12+light-forcing:0.9", MemoryConfig(Window(size=12), select=LightForcing(0.9))),
        ("dense+light-forcing:0.88:tuned-weights", MemoryConfig(select=LightForcing.tuned())),
        (
            "dummy-forcing:0.5:4+light-forcing:0",
            MemoryConfig(DummyForcing(0.5, local_context=4), select=LightForcing(0)),
        ),
    ],
)
def test_what_is_typed_after_a_plus(text, memory):
    found = parse_policy(text)
    assert found.keep == memory.keep
    same = ("sparsity", "final_base", "keep_frames", "near", "dense_first_pass", "dense_clean_pass")
    assert [getattr(found.select, name) for name in same] == [getattr(memory.select, name) for name in same]


@pytest.mark.parametrize(
    ("text", "select"),
    [
        ("dense+ann", AnnSA()),
        ("window:21+ann:0.1", AnnSA(share=0.1)),
        ("dense+ann:0.1:8", AnnSA(share=0.1, bits=8)),
        ("dense+ann:lsh:7", AnnSA("lsh", bits=7)),
    ],
)
def test_ann_attention_after_a_plus(text, select):
    """Random keys tell nothing about recall, by which layers would be switched off."""
    assert parse_policy(text).select == replace(select, min_recall=0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lazy", "expected dense"),
        ("dense:3", "expected dense"),
        ("window:x", "expected dense"),
        ("window:1:2:3", "expected dense"),
        ("window:0", "policy window:0"),
        ("dummy-forcing:2", "from 0 to 1"),
        ("dummy-forcing:half", "expected dense"),
        ("", "unknown policy ''"),
        ("dense+window", "expected dense"),
        ("dense+light-forcing:1", "sparsity is 1.0"),
        ("dense+light-forcing:0.5:wild", "+light-forcing["),
        ("dense+light-forcing+light-forcing:0.5", "one method for 'select'"),
        ("dense+", "expected dense"),
    ],
)
def test_what_cannot_be(text, said):
    with pytest.raises(DummyForcingError, match=re.escape(said)):
        parse_policy(text)


def test_the_same_policy_twice():
    with pytest.raises(DummyForcingError, match=r"window:12 is named twice"):
        parse_policies(["window", "window:12"])


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 1.0])
def test_given_roles_have_the_ratio_and_split_the_rest(ratio):
    memory = MemoryConfig(DummyForcing(ratio))
    roles = sum(with_roles(memory, 5, 12, seed=3).keep.roles, ())
    rest = 60 - 60 * ratio
    assert [roles.count(role) for role in range(3)] == [rest // 2, rest - rest // 2, 60 * ratio]
    assert with_roles(memory, 5, 12, seed=3) == with_roles(memory, 5, 12, seed=3)


def test_others_need_no_roles():
    memory = MemoryConfig(Window())
    assert with_roles(memory, 5, 12, seed=3) is memory
