"""How a method declares its options: one text and one range for nodes, command line, bench and docs.

Nothing here imports torch, so that `dummy-forcing --help` is instant.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import DummyForcingError

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """One field of a method as people set it.

    Attributes:
        help: what it does, in sentences: the tooltip of a node's input and the help of a command line option.
        low, high: the least and the largest value that makes sense; None without a bound. `above` says that `low`
            itself is too little, `below` that `high` itself is too much.
        most: the largest value that a node's widget offers, where `high` is none.
        least: the smallest value that a node's widget offers, where it is not `low`.
        choices: the words that can be chosen; () for numbers, switches and texts.
        word: what can be typed in place of a number; `parse` reads it.
        unit: of the number, in the plural: "chunks".
        rare: seldom has to be changed: nodes show it among their advanced inputs.
        input: the name of the node's input, where it is not the field's.
        flag: the command line option without its dashes, where it is not the method's and the field's name;
            "" if there is none.
        parse: text as typed -> value, where it is no plain number or word; needed where the default is None.
        form: what stands for the value in `--help`, where it is no number: "N[,N]".
        also: further fields that take the same value.
        resets: fields that go back to their defaults when this one is set.
        selects: typing the flag chooses the method, without the option of its slot.
        off: the word of such a flag that stands for no method.
    """

    help: str
    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    most: float | None = None
    least: float | None = None
    choices: tuple[str, ...] = ()
    word: str = ""
    unit: str = ""
    rare: bool = False
    input: str | None = None
    flag: str | None = None
    parse: Callable[[str], Any] | None = None
    form: str = ""
    also: tuple[str, ...] = ()
    resets: tuple[str, ...] = ()
    selects: bool = False
    off: str | None = None

    @property
    def expected(self) -> str:
        """The values that make sense, in words."""
        if self.choices:
            *others, last = map(repr, self.choices)
            return f"{', '.join(others)} or {last}" if others else last
        unit = f" {self.unit}" if self.unit else ""
        unit += f" or {self.word!r}" if self.word else ""
        low, high = (None if each is None else f"{each:g}" for each in (self.low, self.high))
        if low is None:
            return f"a number{unit}"
        if high is None:
            return f"a number above {low}{unit}" if self.above else f"{low} or more{unit}"
        begin = f"above {low}" if self.above else f"from {low}"
        end = f"below {high}" if self.below else f"{'up to' if self.above else 'to'} {high}"
        return f"a number {begin} {end}{unit}"

    def fits(self, value: Any) -> bool:
        """Whether the value is one of the choices, or within the bounds."""
        if self.choices:
            return value in self.choices
        if self.low is None and self.high is None:
            return True
        try:
            low = self.low is None or (value > self.low if self.above else value >= self.low)
            high = self.high is None or (value < self.high if self.below else value <= self.high)
            return low and high and math.isfinite(value)
        except TypeError:
            return False


def option(default: Any, help: str, **details: Any) -> Any:
    """A dataclass field that people can set, a number, switch, word or text; details as in `Option`."""
    if default is None and "parse" not in details and details.get("flag") != "":
        raise TypeError("an option with a flag whose default is None needs `parse`, which reads what is typed")
    return dataclasses.field(default=default, metadata={_KEY: Option(help, **details)})


def options_of(method: type) -> dict[str, Option]:
    """The options of a method's class by the names of its fields, in order."""
    return {item.name: item.metadata[_KEY] for item in dataclasses.fields(method) if _KEY in item.metadata}


def default_of(method: type, field: str) -> Any:
    """The value of a field that nobody has set."""
    return next(item.default for item in dataclasses.fields(method) if item.name == field)


def check_options(method: Any) -> None:
    """Raise DummyForcingError for a value that its option does not allow; None means that it is not set."""
    for field, declared in options_of(type(method)).items():
        value = getattr(method, field)
        if value is not None and not declared.fits(value):
            raise DummyForcingError(
                f"{type(method).title}: {field.replace('_', ' ')} is {value!r}; expected {declared.expected}"
            )
