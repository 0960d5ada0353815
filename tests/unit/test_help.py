"""The nodes' help pages in `web/docs`: what they quote is what was measured, and what they name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "web" / "docs"
ENGLISH = sorted(FOLDER.glob("*.md"))
PAGES = sorted(FOLDER.rglob("*.md"))
NAMES = [str(path.relative_to(FOLDER)) for path in PAGES]

MEASURED = {"en": "## Measured", "zh": "## 实测"}
NUMBER = re.compile(r"\d[\d,]*\.?\d*")


def section(text: str, title: str) -> str:
    return text.split(f"{title}\n", 1)[1].split("\n## ", 1)[0]


def language(path: Path) -> str:
    return path.stem if path.parent != FOLDER else "en"


def measured(path: Path) -> str:
    return section(path.read_text("utf-8"), MEASURED[language(path)])


def figures(text: str) -> list[str]:
    """Numbers with a decimal point or at least three digits, in table cells behind the first column."""
    cells = [cell for line in text.splitlines() if line.startswith("|") for cell in line.split("|")[2:]]
    found = [number.replace(",", "").rstrip(".") for cell in cells for number in NUMBER.findall(cell)]
    return [number for number in found if "." in number or len(number) > 2]


def test_every_page_has_both_languages():
    twins = [path.with_suffix("") / "zh.md" for path in ENGLISH]
    assert sorted([*ENGLISH, *twins]) == PAGES


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_tables_quote_what_was_measured(path):
    """The caption names command, date and source; each figure stands in a source."""
    text = measured(path)
    caption = text[text.index("\n*") :]
    sources = re.findall(r"(?:docs|benchmarks/results)/\w+\.(?:md|json)", caption)
    assert "`" in caption and re.search(r"20\d\d-\d\d-\d\d", caption)
    known = " ".join((ROOT / source).read_text("utf-8") for source in sources).replace(",", "")
    assert sources and [number for number in figures(text) if number not in known] == []


@pytest.mark.parametrize("path", ENGLISH, ids=[path.stem for path in ENGLISH])
def test_both_languages_show_the_same_figures(path):
    assert figures(measured(path)) == figures(measured(path.with_suffix("") / "zh.md")) != []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_the_workflows_named_show_the_node(path):
    node = path.stem if language(path) == "en" else path.parent.name
    text = path.read_text("utf-8")
    named = re.findall(r"\*\*(\w+)\*\*", text[text.rindex("\n## ") :])
    files = [ROOT / "workflows" / f"{name}.json" for name in named]
    assert any(file.is_file() and f'"{node}"' in file.read_text("utf-8") for file in files)
