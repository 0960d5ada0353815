"""Imports run one way (nodes, cli -> core -> kernels -> torch), and nothing optional is needed to import."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "dummy_forcing"

# Layer -> layers of ours that it may import. The root holds `__version__` and `__main__.py`.
ALLOWED = {
    "kernels": {"kernels"},
    "core": {"core", "kernels", "root"},
    "cli": {"cli", "core", "kernels", "root"},
    "nodes": {"nodes", "core", "kernels", "root"},
    "root": {"root", "cli", "nodes"},
}
HOST = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "nodes", "server"}
OPTIONAL = sorted({"av", "flash_attn", "PIL", "rich", "triton"} | HOST)


def sources() -> list[Path]:
    """Every Python file of the package, relative to the root."""
    inner = (path for layer in ALLOWED for path in (ROOT / layer).rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.py"), *inner])


def layer_of(parts: tuple[str, ...]) -> str:
    return parts[0] if parts and parts[0] in ALLOWED else "root"


def relative_layers(file: Path, node: ast.ImportFrom) -> set[str]:
    """Layers that `from ..x import y` in `file` reaches."""
    if node.level > len(file.parts):
        return {"outside"}
    base = file.parts[: len(file.parts) - node.level]
    target = (*base, *(node.module or "").split(".")) if node.module else base
    return {layer_of((*target, alias.name)) for alias in node.names}


def violations(file: Path, code: str) -> list[str]:
    """Imports in `code`, as if it stood in `file` (relative to the root), that break a rule."""
    layer = layer_of(file.parts[:-1])
    absolute_ban = {PACKAGE, "core", "kernels", "cli"} | (set() if layer == "nodes" else HOST)
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.level:
            bad = relative_layers(file, node) - ALLOWED[layer]
        elif isinstance(node, ast.ImportFrom):
            bad = {node.module.split(".")[0]} & absolute_ban
        elif isinstance(node, ast.Import):
            bad = {alias.name.split(".")[0] for alias in node.names} & absolute_ban
        else:
            continue
        found += [f"{file}:{node.lineno}: {layer} must not import {name}" for name in sorted(bad)]
    return found


@pytest.mark.parametrize(
    ("file", "code", "expected"),
    [
        ("core/wan/vae.py", "from ...kernels.attend import attend", []),
        ("core/wan/vae.py", "from ..heads.roles import HeadRole", []),
        ("core/wan/vae.py", "from ...nodes import host", ["core must not import nodes"]),
        ("core/wan/vae.py", "from ... import cli", ["core must not import cli"]),
        ("core/wan/vae.py", "from .... import x", ["core must not import outside"]),
        ("core/wan/vae.py", "def f():\n    import comfy.utils", ["core must not import comfy"]),
        ("kernels/attend.py", "from .plan import ReadPlan", []),
        ("kernels/attend.py", "from ..core import errors", ["kernels must not import core"]),
        ("kernels/attend.py", "from .. import __version__", ["kernels must not import root"]),
        ("cli/main.py", "from .. import __version__\nfrom ..core import errors", []),
        ("cli/main.py", "from dummy_forcing.core import errors", ["cli must not import dummy_forcing"]),
        ("cli/main.py", "import core.errors", ["cli must not import core"]),
        ("nodes/host.py", "import comfy.utils\nimport nodes\nfrom ..core import errors", []),
        ("nodes/host.py", "from ..cli import main", ["nodes must not import cli"]),
        ("__main__.py", "from .cli.main import main", []),
        ("__main__.py", "from .core import errors", ["root must not import core"]),
    ],
)
def test_rules_on_examples(file, code, expected):
    assert [line.split(": ", 1)[1] for line in violations(Path(file), code)] == expected


def test_imports_run_one_way():
    found = [line for file in sources() for line in violations(file, (ROOT / file).read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_root_imports_nothing():
    body = ast.parse((ROOT / "__init__.py").read_text("utf-8")).body
    lazy = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for statement in body if not isinstance(statement, lazy) for node in ast.walk(statement)]
    assert not [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


# Runs in a fresh interpreter: argv = root, blocked names, modules. Prints one JSON object of failures.
IMPORT_ALL = """
import importlib, importlib.util, json, sys

root, blocked, modules = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocker())
spec = importlib.util.spec_from_file_location(
    "dummy_forcing", root + "/__init__.py", submodule_search_locations=[root]
)
package = sys.modules["dummy_forcing"] = importlib.util.module_from_spec(spec)
before = set(sys.modules)
spec.loader.exec_module(package)
failures = {"dummy_forcing loads": sorted(set(sys.modules) - before)} if set(sys.modules) - before else {}
for name in modules:
    try:
        importlib.import_module(name)
    except Exception as error:
        failures[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failures))
"""


def module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def test_everything_imports_without_host_and_extras(tmp_path):
    modules = [module_name(file) for file in sources() if file.parts[0] in ("core", "kernels", "cli")]
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(ROOT), json.dumps(OPTIONAL), json.dumps(modules)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(result.stdout) == {}
