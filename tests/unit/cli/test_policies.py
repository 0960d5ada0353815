import pytest

from dummy_forcing.cli.arguments import POLICIES, build_parser
from dummy_forcing.cli.policies import read_policy
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory.config import KEEP_METHODS
from dummy_forcing.core.memory.dense import Dense
from dummy_forcing.core.memory.dummy_forcing import DummyForcing
from dummy_forcing.core.memory.window import Window


def policy(*argv: str):
    return read_policy(build_parser().parse_args(["generate", *argv]))


def test_every_method_can_be_typed():
    assert {name.replace("-", "_") for name in POLICIES} == set(KEEP_METHODS)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", DummyForcing()),
        ("--policy dense", Dense()),
        ("--policy window", Window()),
        ("--policy window --sink 1 --window 7", Window(sink=1, size=7)),
        ("--local-context all", DummyForcing(local_context=None)),
        ("--local-context 2 --classification-chunk 3", DummyForcing(local_context=2, classification_chunk=3)),
        (
            "--dummy-ratio 0 --cost paper --packed-frames 0",
            DummyForcing(dummy_ratio=0, cost="paper", packed_frames=0),
        ),
    ],
)
def test_options_become_the_policy(argv, expected):
    assert policy(*argv.split()) == expected


@pytest.mark.parametrize("argv", ["--policy dense --sink 3", "--sink 3", "--policy window --cost paper"])
def test_options_of_another_policy(argv):
    with pytest.raises(DummyForcingError, match="belongs to --policy"):
        policy(*argv.split())
