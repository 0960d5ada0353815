"""Which back end has been asked for by name: in code by `force_backend`, by the user in the environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

VARIABLE = "DUMMY_FORCING_ATTENTION"

_forced: str | None = None


@contextlib.contextmanager
def forced(name: str) -> Iterator[None]:
    """Pin a back end inside the block."""
    global _forced
    previous, _forced = _forced, name
    try:
        yield
    finally:
        _forced = previous


def requested() -> tuple[str | None, bool]:
    """The name asked for, and whether a call that it cannot run is an error (in code) or goes on without."""
    if _forced is not None:
        return _forced, True
    return os.environ.get(VARIABLE) or None, False
