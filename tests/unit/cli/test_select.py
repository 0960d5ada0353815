"""What is typed about the keys that are read, and what is said about it."""

from dataclasses import replace

import pytest

from dummy_forcing.cli.arguments import build_parser
from dummy_forcing.cli.selection import read_cross, read_select
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnCA, AnnSA
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.light_forcing.schedule import describe_sparsity, sparsity_by_chunk
from dummy_forcing.core.methods.plain import AllKeys, AllTokens
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.video import VideoShape

VIDEO = VideoShape(2, 4, 3, 21)


def select(*argv):
    return read_select(build_parser().parse_args(["generate", *argv]))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", AllKeys()),
        ("--select all", AllKeys()),
        ("--select light-forcing", LightForcing()),
        ("--select light-forcing --sparsity 0.5", LightForcing(0.5)),
        ("--select light-forcing --preset tuned-weights", LightForcing.tuned()),
        ("--select light-forcing --preset tuned-weights-long", LightForcing.tuned_long()),
        (
            "--select light-forcing --preset tuned-weights --sparsity 0.8 --block-size 12",
            replace(LightForcing.tuned(), sparsity=0.8, base=None, block_q=12, block_k=12),
        ),
        ("--select ann", AnnSA()),
        ("--select ann --ann-share 0.5 --block-size 64", AnnSA(share=0.5, block=64)),
        (
            "--select ann --ann-search lsh --ann-bits 8 --ann-radius 0 --ann-history 3 --ann-recall 0",
            AnnSA("lsh", 8, radius=0, min_frames=3, min_recall=0.0),
        ),
    ],
)
def test_options_become_the_method(argv, expected):
    assert select(*argv.split()) == expected


@pytest.mark.parametrize(("argv", "expected"), [([], AllTokens()), (["--cross", "ann"], AnnCA())])
def test_tokens_of_the_prompt(argv, expected):
    assert read_cross(build_parser().parse_args(["generate", *argv])) == expected


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--sparsity 0.5", "--sparsity belongs to --select light-forcing"),
        ("--select all --preset tuned-weights", "--preset belongs to --select light-forcing"),
        ("--ann-bits 5", "--ann-bits belongs to --select ann"),
        ("--select light-forcing --ann-share 0.5", "--ann-share belongs to --select ann"),
        ("--select ann --sparsity 0.5", "--sparsity belongs to --select light-forcing"),
        ("--select ann --ann-bits 12", "from 1 to 10"),
        ("--select light-forcing --sparsity 1", "from 0 below 1"),
        ("--select light-forcing --sparsity much", "from 0 below 1"),
        ("--select some", "invalid choice"),
    ],
)
def test_what_cannot_be(argv, said):
    with pytest.raises(DummyForcingError, match=said):
        select(*argv.split())


def test_the_schedule_of_the_authors_clip():
    config = MemoryConfig(select=LightForcing.tuned())
    assert describe_sparsity(config, VIDEO) == (
        "Light Forcing, sparsity per chunk: 0, 0.827, 0.855, 0.872, 0.883, 0.892, 0.898"
    )


def test_what_else_is_said():
    mild = MemoryConfig(Dense(), select=LightForcing(0.5, keep_current=True))
    said = describe_sparsity(mild, replace(VIDEO, total_frames=None))
    assert "sparsity of the history per chunk: 0, " in said
    assert said.endswith("then the same; first and clean passes read everything")
    assert AllKeys().schedule(MemoryConfig(), VIDEO) is None


@pytest.mark.parametrize(
    "config",
    [
        MemoryConfig(select=LightForcing(0.0)),
        MemoryConfig(Window(3, 9), select=LightForcing()),
    ],
)
def test_nothing_to_select(config):
    assert "selects nothing here" in describe_sparsity(config, VIDEO)


def test_neighbor_heads_select_once_there_are_any():
    short = sparsity_by_chunk(MemoryConfig(DummyForcing(), select=LightForcing()), VIDEO)
    long = sparsity_by_chunk(MemoryConfig(DummyForcing(local_context=4), select=LightForcing()), VIDEO)
    assert [bool(each) for each in short] == [False, True, *[False] * 5]
    assert [bool(each) for each in long] == [False, *[True] * 6]
