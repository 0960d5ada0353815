"""The worked example of docs/adding_a_method.md: its module and its tests as they stand there, and nothing else."""

import inspect
import re
import sys

import pytest
from worked_example import TESTS, example_method, load

from dummy_forcing.cli.arguments import build_parser
from dummy_forcing.cli.policies import read_policy
from dummy_forcing.core.bench.typed_memories import parse_policy, syntax
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.methods.base import KeepMethod, find_method, parse_value
from dummy_forcing.core.methods.declaration import option
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.window import Window


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    with example_method(tmp_path_factory.mktemp("page"), "dummy_forcing") as module:
        yield module.LayerWindow


@pytest.fixture(scope="module")
def page(method, tmp_path_factory):
    """The page's tests."""
    tests = load("test_layer_window", tmp_path_factory.mktemp("page") / "test_layer_window.py", TESTS)
    yield tests
    del sys.modules[tests.__name__]


@pytest.mark.parametrize("name", re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE))
def test_the_page(name, page, request):
    test = getattr(page, name)
    test(**{fixture: request.getfixturevalue(fixture) for fixture in inspect.signature(test).parameters})


def test_it_is_on_the_command_line(method, capsys):
    def typed(*argv):
        return read_policy(build_parser().parse_args(["generate", "--policy", "layer-window", *argv]))

    assert typed() == method()
    assert typed("--layer-window-narrow", "2", "--layer-window-wide", "9") == method(narrow=2, wide=9)
    with pytest.raises(DummyForcingError, match="expected 0 or more, got 'few'"):
        typed("--layer-window-narrow", "few")
    with pytest.raises(DummyForcingError, match="--layer-window-wide belongs to --policy layer-window"):
        read_policy(build_parser().parse_args(["generate", "--layer-window-wide", "9"]))
    with pytest.raises(SystemExit):
        build_parser().parse_args(["generate", "--help"])
    assert "Recent latent frames that the last layer sees." in " ".join(capsys.readouterr().out.split())


def test_it_is_in_the_bench(method):
    assert parse_policy("layer-window:2:9").keep == method(narrow=2, wide=9)
    assert "layer-window[:NARROW[:WIDE[:SINK]]]" in syntax()


# What goes wrong in a declaration is said where it stands


def test_a_name_is_taken_once():
    with pytest.raises(TypeError, match="both declare a keep method called 'window'"):

        class Another(KeepMethod, name="window", title="Another window"):
            pass

    assert find_method("keep", "window") is Window


def test_an_option_that_is_not_set_needs_its_own_reader():
    with pytest.raises(TypeError, match="needs `parse`"):
        option(None, "Nothing by default.", low=0)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_a_switch_is_typed_as_a_word(text, value):
    assert parse_value(LightForcing, "dense_first_pass", text) is value
    with pytest.raises(ValueError, match="off"):
        parse_value(LightForcing, "dense_first_pass", "off")
