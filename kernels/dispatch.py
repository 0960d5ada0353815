"""Several implementations of one function: which of them a call takes.

The one asked for by name, in code by a `force_...` or by a user in the environment; else the only one that fits,
else the fastest (`choice`).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from . import choice
from .choice import FAILURES, cannot_wait, fastest
from .libraries import in_one_line, library

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
        """The name asked for, and whether it is an error (in code), or falls back, if it cannot run a call."""
        if self._forced is not None:
            return self._forced, True
        return os.environ.get(self.variable) or None, False

    def check(self, names: Sequence[str]) -> None:
        """Warn about a misspelt variable: it must neither end a run nor go unnoticed."""
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


def bucket(size: int) -> int:
    """Sizes between the same two powers of two are of one kind."""
    return size.bit_length()


def _always(*args: Any) -> bool:
    return True


@dataclass(frozen=True)
class Implementation:
    """One way to compute a function.

    Attributes:
        name: what users and tests call it.
        run: the function.
        needs: what it needs, for the message that says it cannot run.
        supports: whether it gives the right result for these arguments; must not wait for the device.
        competes: whether it takes part in the choice when nobody asks for it by name.
        library: the module it needs beyond torch's core. If an implementation with a library fails, the call goes
            on with another one; errors of all others are raised to the caller.
        rank: only those of the lowest rank available are compared; higher ranks are fallbacks.
    """

    name: str
    run: Callable[..., Any]
    needs: str
    supports: Callable[..., bool] = _always
    competes: Callable[..., bool] = _always
    library: str | None = None
    rank: int = 0

    def can_run(self, *args: Any) -> bool:
        """Asks for the library only if the call fits, so that nobody on a CPU reads that flash-attn is missing."""
        return self.supports(*args) and (self.library is None or library(self.library) is not None)


_dispatchers: list[Dispatcher] = []


class Dispatcher:
    """Takes the implementation asked for by name, else the only one that fits, else the fastest."""

    def __init__(self, what: str, implementations: Sequence[Implementation], override: Override = ATTENTION):
        self.what = what
        self.override = override
        self.table = {each.name: each for each in implementations}
        self._chosen: dict[Hashable, Implementation] = {}
        self._failed: set[tuple[str, Hashable]] = set()
        self._said: set[str] = set()
        _dispatchers.append(self)

    def __call__(self, kind: Hashable, device: torch.device, *args: Any) -> Any:
        """Run a call; `kind` stands for everything, except the device, that support and speed depend on."""
        kind = (device, kind)
        name, strict = self.override.requested()
        if name in self.table:
            asked = self._asked_for(name, strict, kind, args)
            if asked is not None and strict:
                return asked.run(*args)
            if asked is not None:
                self.say(name, f"asked for by {self.override.variable}")
                try:
                    return asked.run(*args)
                except FAILURES as error:
                    self._give_up(asked, kind, error)
        while True:
            chosen = self._choose(kind, device, args)
            try:
                return chosen.run(*args)
            except FAILURES as error:
                self._give_up(chosen, kind, error)

    def can_run(self, name: str, *args: Any) -> bool:
        """Whether a named implementation is here and fits these arguments."""
        return self.table[name].can_run(*args)

    def say(self, subject: str, why: str, level: int = logging.INFO) -> None:
        """Log something once."""
        if subject not in self._said:
            self._said.add(subject)
            logger.log(level, "%s: %s (%s)", self.what, subject, why)

    def forget(self) -> None:
        """Choose everything anew; for tests and benchmarks."""
        self._chosen.clear()
        self._failed.clear()
        self._said.clear()

    def _asked_for(self, name: str, strict: bool, kind: Hashable, args: tuple) -> Implementation | None:
        asked = self.table[name]
        if (name, kind) not in self._failed and asked.can_run(*args):
            return asked
        if strict:
            raise ValueError(f"the {self.what} '{name}' cannot run this call; it needs {asked.needs}")
        if (unfit := f"{name} does not fit") not in self._said:
            self._said.add(unfit)
            variable = self.override.variable
            logger.warning(
                "%s=%s cannot run every call, some go on without it; it needs %s", variable, name, asked.needs
            )
        return None

    def _choose(self, kind: Hashable, device: torch.device, args: tuple) -> Implementation:
        if kind in self._chosen:
            return self._chosen[kind]
        candidates = self._candidates(kind, args)
        if not candidates:
            raise RuntimeError(f"no {self.what} can run this call")
        if len(candidates) == 1:
            name = candidates[0].name
            self.say(name, "the only one for calls like this")
        else:
            runs = {each.name: partial(each.run, *args) for each in candidates}
            name = self._fastest(kind, runs, device)
        chosen = self.table[name]
        if not cannot_wait(device) and not torch.are_deterministic_algorithms_enabled():
            self._chosen[kind] = chosen
        return chosen

    def _fastest(self, kind: Hashable, runs: dict[str, Callable[[], Any]], device: torch.device) -> str:
        try:
            return fastest(self.what, kind, runs, device)
        except RuntimeError:
            return next(iter(runs))  # its run then raises what is wrong with the call

    def _candidates(self, kind: Hashable, args: tuple) -> list[Implementation]:
        able = [
            each
            for each in self.table.values()
            if (each.name, kind) not in self._failed and each.competes(*args) and each.can_run(*args)
        ]
        best = min((each.rank for each in able), default=0)
        return [each for each in able if each.rank == best]

    def _give_up(self, failed: Implementation, kind: Hashable, error: Exception) -> None:
        """Drop an implementation that needs a library; raises the error of any other, and out of memory."""
        if failed.library is None or isinstance(error, torch.cuda.OutOfMemoryError):
            raise error
        self._failed.add((failed.name, kind))
        self._chosen.pop(kind, None)
        self.say(f"{failed.name} failed", f"{in_one_line(error)}; going on without it", logging.WARNING)


def force_elementwise(name: str) -> contextlib.AbstractContextManager[None]:
    """As `force_backend`, for norms, RoPE and residuals: 'torch', 'fused' or 'kitchen'."""
    return ELEMENTWISE.forced(name, ELEMENTWISE_NAMES)


def forget_choices() -> None:
    """Measure and report everything anew; for tests and benchmarks."""
    choice.forget()
    for dispatcher in _dispatchers:
        dispatcher.forget()
    for override in (ATTENTION, ELEMENTWISE):
        override.forget()
