"""Errors that are meant for users to read."""

from __future__ import annotations

import sys
from typing import ClassVar


class DummyForcingError(ValueError):
    """Bad input: one line says what is wrong, what was expected and, after the last "; ", what to do.

    The CLI prints it and exits with code 2; nodes hand it to the host as is.

    Attributes:
        remedy_first: say what to do before what is wrong. Set by a host that shows the beginning of messages only.
    """

    # Hosts show the module before the message; its real name would begin with the user's folders.
    __module__ = "dummy_forcing"

    remedy_first: ClassVar[bool] = False

    _defined_in: ClassVar[str] = __name__

    def __init_subclass__(cls) -> None:
        cls._defined_in, cls.__module__ = cls.__module__, DummyForcingError.__module__

    @property
    def message(self) -> str:
        """The message as it was written, for use inside another message."""
        return super().__str__()

    def __str__(self) -> str:
        return put_remedy_first(self.message) if self.remedy_first else self.message

    def __reduce__(self):
        kind = type(self)  # pickle would look for the class in `__module__`
        return _error, (kind._defined_in, kind.__name__, self.args), self.__dict__ or None


def put_remedy_first(message: str) -> str:
    """Turn "what is wrong; what to do" into "what to do: what is wrong"; leave other messages as they are."""
    wrong, between, remedy = message.rpartition("; ")
    if not between or remedy.count("(") != remedy.count(")"):  # the "; " was in brackets, part of what is wrong
        return message
    return f"{remedy.removesuffix('.')}: {wrong}"


def _error(module: str, name: str, args: tuple[str, ...]) -> DummyForcingError:
    return getattr(sys.modules[module], name)(*args)
