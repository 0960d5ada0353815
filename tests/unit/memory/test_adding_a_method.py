"""The worked example of docs/adding_a_method.md: its method and its tests, run as they stand there."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "adding_a_method.md"
METHOD, TESTS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's tests, with its method in the package for as long as they run."""
    folder = tmp_path_factory.mktemp("page")
    method = load("dummy_forcing.core.memory.layer_window", folder / "layer_window.py", METHOD)
    tests = load("test_layer_window", folder / "test_layer_window.py", TESTS)
    yield tests
    for module in (method, tests):
        del sys.modules[module.__name__]


@pytest.mark.parametrize("name", re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE))
def test_the_page(name, page, request):
    test = getattr(page, name)
    test(**{fixture: request.getfixturevalue(fixture) for fixture in inspect.signature(test).parameters})


def load(name: str, path: Path, code: str):
    """A module of this name, which may import relatively if it is named as one of the package."""
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
