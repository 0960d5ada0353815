"""Which implementation has been asked for by name: in code by a `force_...`, by the user in the environment."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence

logger = logging.getLogger("dummy_forcing")


class Override:
    """A choice made by hand.

    variable: of the environment.
    what: that it chooses, for messages.
    """

    def __init__(self, variable: str, what: str):
        self.variable = variable
        self.what = what
        self._forced: str | None = None
        self._warned: set[str] = set()

    @contextlib.contextmanager
    def forced(self, name: str, names: Sequence[str]) -> Iterator[None]:
        """Pin one of `names` inside the block; raises ValueError for any other."""
        if name not in names:
            raise ValueError(f"unknown {self.what} '{name}'; there are {', '.join(names)}")
        previous, self._forced = self._forced, name
        try:
            yield
        finally:
            self._forced = previous

    def requested(self) -> tuple[str | None, bool]:
        """The name asked for, and whether a call that it cannot run is an error (in code) or goes on without."""
        if self._forced is not None:
            return self._forced, True
        return os.environ.get(self.variable) or None, False

    def check(self, names: Sequence[str]) -> None:
        """A misspelt variable must not end a run, nor pass unseen."""
        name = os.environ.get(self.variable)
        if name and name not in names and name not in self._warned:
            self._warned.add(name)
            logger.warning(
                "%s=%s is no %s; there are %s. Choosing one.", self.variable, name, self.what, ", ".join(names)
            )

    def forget(self) -> None:
        """Warn anew; for tests."""
        self._warned.clear()


ATTENTION = Override("DUMMY_FORCING_ATTENTION", "attention back end")
ELEMENTWISE = Override("DUMMY_FORCING_ELEMENTWISE", "elementwise back end")
ELEMENTWISE_NAMES = "torch", "fused", "kitchen"
