"""What pyproject.toml and requirements.txt promise is what lies on disk."""

import ast
import importlib
import re
import sys
from pathlib import Path

import dummy_forcing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]

# Of those that the registry knows; an unknown one empties its whole list.
REGISTRY_CLASSIFIERS = {"Operating System :: OS Independent", "Environment :: GPU :: NVIDIA CUDA"}


def requirements() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def folder_of(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


def test_import_gives_this_checkout():
    assert Path(dummy_forcing.__file__).resolve() == ROOT / "__init__.py"


def test_version_is_stated_once():
    assert PYPROJECT["project"]["version"] == dummy_forcing.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", dummy_forcing.__version__)


def test_requirements_leave_the_host_alone():
    """A pin or an upper bound would make ComfyUI-Manager change packages that the host chose."""
    assert requirements() == ["einops", "safetensors"]


def test_packages_match_folders():
    layers = ("cli", "core", "kernels", "nodes")
    found = [path.parent for layer in layers for path in (ROOT / layer).rglob("__init__.py")]
    names = [".".join(("dummy_forcing", *folder.relative_to(ROOT).parts)) for folder in found]
    assert SETUPTOOLS["packages"] == ["dummy_forcing", *sorted(names)]


def test_every_module_lies_in_a_package():
    listed = {folder_of(package) for package in SETUPTOOLS["packages"]}
    layers = ("cli", "core", "kernels", "nodes")
    stray = [path for layer in layers for path in (ROOT / layer).rglob("*.py") if path.parent not in listed]
    assert not stray


def test_package_data_exists():
    for package, patterns in SETUPTOOLS["package-data"].items():
        for pattern in patterns:
            assert list(folder_of(package).glob(pattern)), f"{package}: nothing matches {pattern}"


def test_command_exists():
    module, function = PYPROJECT["project"]["scripts"]["dummy-forcing"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_registry_fields():
    """What `comfy node validate` asks for: the name it shows, a license table, a repository."""
    project, comfy = PYPROJECT["project"], PYPROJECT["tool"]["comfy"]
    assert project["license"] == {"text": "Apache-2.0"}
    assert project["urls"]["Repository"].startswith("https://")
    assert comfy["PublisherId"] and comfy["DisplayName"] and comfy["requires-comfyui"]
    assert set(project["classifiers"]) <= REGISTRY_CLASSIFIERS


def test_registry_pictures():
    """The registry takes a square icon of up to 400 pixels and a banner of 21:9, by their address."""
    from PIL import Image

    with Image.open(picture("Icon")) as icon:
        assert icon.width == icon.height <= 400
    with Image.open(picture("Banner")) as banner:
        assert banner.width * 9 == banner.height * 21


def test_node_ids_stand_in_the_source():
    """ComfyUI Manager reads them off the syntax tree, to know which pack a workflow's missing nodes are from."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "nodes").rglob("*.py")]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    nodes = [each for each in classes if any(ast.unparse(base) == "io.ComfyNode" for base in each.bases)]
    ids = {each.name: re.findall(r"node_id='(\w+)'", ast.unparse(each)) for each in nodes}
    assert nodes and [name for name, found in ids.items() if len(found) != 1] == []


def picture(name: str) -> Path:
    """The file in this checkout that an address of the registry's metadata will show."""
    address = PYPROJECT["tool"]["comfy"][name]
    return ROOT / address.split("/main/", 1)[1]
