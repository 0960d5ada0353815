"""The house: which room of core may know which, one name for one file, and methods that nobody else tells apart."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from dummy_forcing.core.methods.base import SLOTS, methods

ROOT = Path(__file__).resolve().parents[2]
LAYERS = "core", "kernels", "nodes", "cli"

# Room of core -> rooms that it must not import, not even for types. Everybody may import what lies at core's root.
CLOSED = {
    "memory": {"methods", "checkpoints", "stream"},  # the engine knows protocols, never who fills them
    "methods": {"checkpoints", "stream"},
    "stream": {"checkpoints", "world"},  # a loop is told what a family wants
    "checkpoints": {"world"},
    "wan": {"memory", "methods", "heads", "stream", "decoders", "checkpoints", "world"},
}

# Names that several files have, each for its owner. Files of cli/ are named after the commands.
SHARED_NAMES = {
    "__init__.py": "every folder",
    "run.py": "a method's run on one video, in its package of core/methods",
    "convert.py": "the command, and what it commands: core/checkpoints/convert.py",
    "profile.py": "the command, and the file that it writes: core/heads/profile.py",
}


def sources(*folders: str) -> list[Path]:
    """Every Python file of these folders, relative to the root."""
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def rooms_imported(file: Path, code: str) -> dict[str, int]:
    """Rooms of core that `code` imports, as if it stood in `file`, and in which line."""
    rooms = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*file.parts[: len(file.parts) - node.level], *(node.module or "").split(".")]
            for alias in node.names:
                target = [part for part in (*base, alias.name) if part]
                if target[0] == "core" and len(target) > 1:
                    rooms[target[1]] = node.lineno
    return rooms


@pytest.mark.parametrize(
    ("file", "code", "rooms"),
    [
        ("core/memory/memory.py", "from ..methods.dense import Dense", {"methods"}),
        ("core/memory/memory.py", "from .. import methods", {"methods"}),
        ("core/memory/memory.py", "from .store import FrameStore\nfrom ...kernels import attend", {"memory"}),
        ("core/methods/ann/run.py", "if x:\n    from ...stream.config import StreamConfig", {"stream"}),
        ("core/presets.py", "from .stream import config", {"stream"}),
    ],
)
def test_rooms_on_examples(file, code, rooms):
    assert set(rooms_imported(Path(file), code)) == rooms


def test_rooms_of_core_know_only_those_below():
    found = [
        f"{file}:{line}: {room} must not import {other}"
        for room, closed in CLOSED.items()
        for file in sources(f"core/{room}")
        for other, line in rooms_imported(file, (ROOT / file).read_text("utf-8")).items()
        if other in closed
    ]
    assert not found, "\n".join(found)


def type_checks(code: str, names: set[str]) -> list[int]:
    """Lines that ask whether something is of one of these classes."""
    lines = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            asked = node.args[1:]
        elif isinstance(node, ast.Compare) and any(
            isinstance(each, ast.Is | ast.IsNot | ast.Eq) for each in node.ops
        ):
            sides = [node.left, *node.comparators]
            asked = (
                sides
                if any(isinstance(side, ast.Call) and getattr(side.func, "id", "") == "type" for side in sides)
                else []
            )
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        else:
            continue
        named = {getattr(each, "id", getattr(each, "attr", "")) for part in asked for each in ast.walk(part)}
        lines += [node.lineno] if named & names else []
    return lines


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("isinstance(keep, Window)", [1]),
        ("isinstance(keep, Dense | window.Window)", [1]),
        ("x = 1\nif type(keep) is Window: pass", [2]),
        ("match keep:\n    case Window(): pass", [2]),
        ("isinstance(keep, KeepMethod)\nWindow(3, 9) == keep", []),
    ],
)
def test_type_checks_on_examples(code, lines):
    assert type_checks(code, {"Window", "Dense"}) == lines


def test_nobody_asks_which_method_it_is():
    names = {method.__name__ for slot in SLOTS for method in methods(slot).values()}
    files = [file for file in sources(*LAYERS) if file.parts[:2] != ("core", "methods")]
    found = [f"{file}:{line}" for file in files for line in type_checks((ROOT / file).read_text("utf-8"), names)]
    assert not found, f"ask the method (core/methods/base.py), not its type: {', '.join(found)}"


def test_one_name_for_one_file():
    folders = defaultdict(set)
    for file in sources(*LAYERS):
        folders[file.name].add(file.parent.as_posix())
    assert all(folder.startswith("core/methods/") for folder in folders.pop("run.py"))
    assert folders.pop("convert.py") == {"cli", "core/checkpoints"}
    assert folders.pop("profile.py") == {"cli", "core/heads"}
    shared = {name: sorted(where) for name, where in folders.items() if len(where) > 1 and name not in SHARED_NAMES}
    assert not shared


# Runs in a fresh interpreter: argv = root. Prints what `--help` has loaded.
BUILD_PARSER = """
import importlib.util, json, sys

root = sys.argv[1]
spec = importlib.util.spec_from_file_location(
    "dummy_forcing", root + "/__init__.py", submodule_search_locations=[root]
)
sys.modules["dummy_forcing"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["dummy_forcing"])
from dummy_forcing.cli.arguments import build_parser

build_parser()
print(json.dumps(sorted(sys.modules)))
"""


def test_options_of_all_methods_need_no_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BUILD_PARSER, str(ROOT)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert {method.__module__ for slot in SLOTS for method in methods(slot).values()} <= loaded
    assert "torch" not in loaded
