"""The worked example of docs/adding_a_method.md, as a module of the package for as long as a test needs it."""

import contextlib
import importlib.util
import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding_a_method.md"
METHOD, TESTS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
NAME = "layer_window"


@contextlib.contextmanager
def example_method(folder: Path, package: str):
    """The page's method: its file alone, in the folder of methods of the package of this name."""
    module = load(f"{package}.core.methods.{NAME}", folder / f"{NAME}.py", METHOD)
    registry = sys.modules[f"{package}.core.methods.base"].REGISTERED["keep"]
    try:
        yield module
    finally:
        del sys.modules[module.__name__]
        del registry[NAME]


def load(name: str, path: Path, code: str):
    """A module of this name, which may import relatively if it is named as one of the package."""
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
