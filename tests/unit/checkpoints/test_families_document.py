"""docs/families.md is what the table says."""

import importlib.util
from pathlib import Path

from dummy_forcing.core.checkpoints.families import FAMILIES

ROOT = Path(__file__).resolve().parents[3]


def load_tool():
    spec = importlib.util.spec_from_file_location("families_table", ROOT / "tools" / "families_table.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_document_is_up_to_date():
    tool = load_tool()
    written = tool.DOCUMENT.read_text("utf-8")
    assert written == tool.document(), "run: python tools/families_table.py"
    assert all(f"`{name}`" in written for name in FAMILIES)
