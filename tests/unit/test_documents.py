"""README and docs/: links, paths and citations lead somewhere, and figures say how they were made."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
FOLDERS = "benchmarks|cli|core|docs|kernels|nodes|tests|tools|web|workflows"


def sources() -> Iterator[Path]:
    """Documents and Python files of the repository."""
    for folder in (ROOT, *(ROOT / name for name in FOLDERS.split("|"))):
        for path in sorted(folder.glob("*") if folder == ROOT else folder.rglob("*")):
            if path.suffix in (".md", ".py") and "node_modules" not in path.parts:
                yield path


def anchors(page: Path) -> dict[str, str]:
    """Headings of a document by the anchor that GitHub gives them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"): heading for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
        if not target.startswith("http"):
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_documents_that_are_cited_are_in_the_repository():
    """By name, in docstrings, comments and documents; not those with a placeholder, such as <node_id>.md."""
    here = {path.name for path in sources()}
    named = [(path, name) for path in sources() for name in re.findall(r"(?<![\w>}*])(\w+\.md)\b", text_of(path))]
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in named if name not in here] == []


def text_of(path: Path) -> str:
    """In one line, without the signs of comments."""
    return re.sub(r"\s+(?:# )?", " ", path.read_text("utf-8"))


def test_citations_lead_to_an_entry_of_the_references():
    """A mention of docs/references.md names one or several in quotes; and there are none that nobody cites."""
    entries = anchors(DOCS / "references.md")
    cited = []
    for path in sources():
        text = text_of(path)
        assert path in (*PAGES, Path(__file__)) or not re.search(r'references\.md(?!, "|#)', text), path
        lists = re.findall(r'references\.md, ("[^"]+"(?:(?:,| and|, and) "[^"]+")*)', text)
        cited += [name for names in lists for name in re.findall('"([^"]+)"', names)]
        cited += [entries.get(anchor, anchor) for anchor in re.findall(r"references\.md#([\w-]+)", text)]
    assert [name for name in cited if name not in entries.values()] == []
    facts = re.findall(r"^### (.+)$", (DOCS / "references.md").read_text("utf-8"), re.MULTILINE)
    assert [name for name in facts if name not in cited] == []


@pytest.mark.parametrize("page", ["architecture.md", "references.md"])
def test_files_that_are_named_exist(page):
    named = re.findall(rf"`((?:{FOLDERS})/[\w/.]+)`", (DOCS / page).read_text("utf-8"))
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
