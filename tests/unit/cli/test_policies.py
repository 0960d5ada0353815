import pytest

from dummy_forcing.cli.arguments import build_parser
from dummy_forcing.cli.policies import memory_for, read_policy
from dummy_forcing.core.checkpoints.families.table import family
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.base import methods
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Absolute, Relative
from dummy_forcing.core.methods.window import Window


def policy(*argv: str):
    return read_policy(build_parser().parse_args(["generate", *argv]))


def test_every_method_can_be_typed():
    for name, method in methods("keep").items():
        assert type(policy("--policy", name.replace("_", "-"))) is method


def test_a_family_brings_its_own_memory_and_positions():
    assert memory_for(policy("--policy", "family"), "auto", family("longlive")) == MemoryConfig(Window(3, 12))
    own = MemoryConfig(Window(3, 9, 0.999), Relative())
    assert memory_for(policy("--policy", "family"), "auto", family("reward-forcing")) == own
    assert memory_for(DummyForcing(), "auto", family("self-forcing")).rope == Relative(21)
    assert memory_for(DummyForcing(), "auto", family("reward-forcing")).rope == Relative()
    assert memory_for(DummyForcing(), "absolute", family("self-forcing")).rope == Absolute()
    assert memory_for(Dense(), "auto", family("self-forcing")).rope == Absolute()
    with pytest.raises(DummyForcingError, match="need a limited context"):
        memory_for(Dense(), "relative", family("self-forcing"))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", DummyForcing()),
        ("--policy dense", Dense()),
        ("--policy window", Window()),
        ("--policy window --sink 1 --window 7", Window(sink=1, size=7)),
        ("--local-context all", DummyForcing(local_context=None)),
        ("--local-context 2 --classification-chunk 3", DummyForcing(local_context=2, classification_chunk=3)),
        ("--force-roles 3:5=sink,0:1=dummy", DummyForcing(forced_roles=((0, 1, 2), (3, 5, 0)))),
        (
            "--dummy-ratio 0 --cost paper --packed-frames 0",
            DummyForcing(dummy_ratio=0, cost="paper", packed_frames=0),
        ),
    ],
)
def test_options_become_the_policy(argv, expected):
    assert policy(*argv.split()) == expected


@pytest.mark.parametrize(
    "argv",
    [
        "--policy dense --sink 3",
        "--sink 3",
        "--policy window --force-roles 0:0=sink",
        "--policy window --cost paper",
    ],
)
def test_options_of_another_policy(argv):
    with pytest.raises(DummyForcingError, match="belongs to --policy"):
        policy(*argv.split())
