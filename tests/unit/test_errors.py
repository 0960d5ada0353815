import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

from dummy_forcing.core.broken import BrokenVideoError
from dummy_forcing.core.errors import DummyForcingError, put_remedy_first

ROOT = Path(__file__).resolve().parents[2]
MESSAGE = "a length of 10 frames does not fit chunks of 3 latent frames; use 9 or 21"
TURNED = "use 9 or 21: a length of 10 frames does not fit chunks of 3 latent frames"


@pytest.fixture
def remedy_first(monkeypatch):
    monkeypatch.setattr(DummyForcingError, "remedy_first", True)


def test_a_message_is_as_it_was_written():
    error = DummyForcingError(MESSAGE)
    assert str(error) == f"{error}" == error.message == MESSAGE


def test_a_host_may_ask_for_the_remedy_first(remedy_first):
    error = DummyForcingError(MESSAGE)
    assert str(error) == f"{error}" == TURNED and error.message == MESSAGE


@pytest.mark.parametrize(
    ("message", "turned"),
    [
        ("it broke", "it broke"),
        ("a; b; use c", "use c: a; b"),
        ("x is damaged; profile it again.", "profile it again: x is damaged"),
        ("cannot read x (no header; no end)", "cannot read x (no header; no end)"),
        ("a is 3; expected 4 (or 5)", "expected 4 (or 5): a is 3"),
        ("", ""),
    ],
)
def test_the_remedy_is_what_follows_the_last_semicolon(message, turned):
    assert put_remedy_first(message) == turned


def _remedies():
    """Of all messages in the code that nodes may show: the part behind the last "; ", `0` for what is filled in."""
    for path in [each for folder in ("core", "nodes") for each in sorted((ROOT / folder).rglob("*.py"))]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not getattr(call.func, "id", "").endswith("Error"):
                continue
            for written in call.args:
                pieces = written.values if isinstance(written, ast.JoinedStr) else [written]
                said = "".join(str(piece.value) if isinstance(piece, ast.Constant) else "0" for piece in pieces)
                if "; " in said:
                    yield f"{path.name}:{call.lineno}", said.rpartition("; ")[2]


def test_a_remedy_that_comes_first_names_what_it_speaks_of():
    """No pronoun in it refers to what is said only behind it."""
    orphan = re.compile(r"^\w+ (it|its|them|these|those|that one)\b|\b(leave|make|put) (it|them)\b")
    found = list(_remedies())
    assert len(found) > 100
    assert [f"{where} {remedy}" for where, remedy in found if orphan.search(remedy)] == []


@pytest.mark.parametrize("kind", [DummyForcingError, BrokenVideoError])
def test_hosts_show_a_short_type(kind):
    assert f"{kind.__module__}.{kind.__qualname__}" == f"dummy_forcing.{kind.__name__}"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("kind", [DummyForcingError, BrokenVideoError])
def test_it_can_be_copied_and_sent_to_another_process(kind, again):
    error = again(kind(MESSAGE))
    assert type(error) is kind and error.args == (MESSAGE,)
