"""Lets plain `pytest` run from a checkout of any folder name, installed or not."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = "dummy_forcing"


class RootIsAFolder:
    """Collects the repository root as a plain folder.

    Its `__init__.py` would make pytest import it as a package named after the folder, and a name with a
    dash is no package name. It takes a plugin object: hooks of a conftest do not reach the folder above it.
    """

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def resolves_here() -> bool:
    """Whether `import dummy_forcing` would already give this checkout."""
    spec = importlib.util.find_spec(NAME)
    origin = spec.origin if spec else None
    return origin is not None and Path(origin).resolve() == ROOT / "__init__.py"


def load_this_checkout() -> None:
    """Put this folder into `sys.modules` as `dummy_forcing`; nothing of the pack enters `sys.path`."""
    spec = importlib.util.spec_from_file_location(
        NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsAFolder(), "dummy-forcing-root")


if not resolves_here():  # now: the conftests of the folders below import the package
    load_this_checkout()
