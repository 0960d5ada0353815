"""Optional libraries: imported when first wanted; a missing or broken one costs one log line."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from types import ModuleType

logger = logging.getLogger("dummy_forcing")


@cache
def library(name: str) -> ModuleType | None:
    """The module of this name, or None if it cannot be imported, which is said once."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0]:
            logger.info("%s is not installed: going on without it", name)
            return None
        return _broken(name, error)
    except Exception as error:  # a library built for another torch or driver may raise anything
        return _broken(name, error)


def _broken(name: str, error: Exception) -> None:
    logger.warning(
        "%s is installed but cannot be imported (%s): going on without it; "
        "reinstall it for this torch, or uninstall it",
        name,
        in_one_line(error),
    )


def in_one_line(error: Exception) -> str:
    """Type and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
