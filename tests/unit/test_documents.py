"""README and docs/: links and paths lead somewhere, and figures say how they were made."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
FOLDERS = "benchmarks|cli|core|docs|kernels|nodes|tests|tools|web|workflows"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text("utf-8"))
    files = [page.parent / target for target in targets if not target.startswith("http")]
    assert [str(file) for file in files if not file.exists()] == []


def test_the_architecture_names_files_that_exist():
    named = re.findall(rf"`((?:{FOLDERS})/[\w/.]+)`", (DOCS / "architecture.md").read_text("utf-8"))
    assert named and [name for name in named if not (ROOT / name).exists()] == []


def test_every_figure_says_how_it_was_made():
    """In docs/figures.md: pictures of docs/images and results of benchmarks."""
    page = (DOCS / "figures.md").read_text("utf-8")
    results = [path.name for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    pictures = [f"images/{path.name}" for path in (DOCS / "images").iterdir()]
    assert [name for name in (*results, *pictures) if f"`{name}`" not in page] == []
