"""docs/families.md and docs/methods.md are what the code's tables say."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["families", "methods"])
def test_the_page_is_up_to_date(name):
    tool = ROOT / "tools" / f"{name}_table.py"
    spec = importlib.util.spec_from_file_location(f"{name}_table", tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.DOCUMENT.read_text("utf-8") == module.document(), f"run: python tools/{name}_table.py"
