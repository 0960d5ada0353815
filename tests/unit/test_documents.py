"""README and docs/: links and paths lead somewhere, and figures say how they were made."""

import re
import tokenize
from collections.abc import Iterator
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


# What another library has not today it may have tomorrow (comfy-kitchen got an RMSNorm between 0.2.16 and 0.2.40).
LACKS = r"\b(?:(?:has|have|knows?) no|(?:does|do) not|cannot|nowhere)\b"
CLAIM = re.compile(
    rf"(?:comfy-kitchen|flash-attn|SageAttention|FlexAttention).*{LACKS}"
    rf"|\b(?:ComfyUI|PyTorch|PyAV|diffusers|safetensors)(?:'s [\w* ]+)?(?:, which)? {LACKS}"
)
VERSION = re.compile(r"\d+\.\d+")


def paragraphs(page: Path) -> Iterator[str]:
    """Of a document; of a Python file its docstrings and comments."""
    if page.suffix == ".md":
        yield from re.split(r"\n\s*\n|\n(?=\||\* |- )", page.read_text("utf-8"))
        return
    comment: list[str] = []
    with tokenize.open(page) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                comment.append(token.string.lstrip("# "))
            elif token.type != tokenize.NL:
                yield " ".join(comment)
                comment = []
            if token.type == tokenize.STRING and token.string.startswith('"""'):
                yield from re.split(r"\n\s*\n", token.string)


def test_what_other_libraries_lack_names_their_version():
    folders = ("core", "kernels", "nodes", "cli", "docs", "web/docs")
    files = (page for folder in folders for page in sorted((ROOT / folder).rglob("*")))
    pages = [page for page in files if page.suffix in (".md", ".py")]
    claims = [
        f"{page.relative_to(ROOT)}: {text}"
        for page in (*PAGES[:2], *pages)
        for text in (" ".join(paragraph.split()) for paragraph in paragraphs(page))
        if CLAIM.search(text) and not VERSION.search(text)
    ]
    assert claims == []
