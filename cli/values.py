"""Types of command-line values: text in, value out, or a message that says what was expected."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError

from ..core.stream.noise import MOST_SEED


def count(text: str) -> int:
    """A whole number above 0."""
    return _whole(text, 1, "a whole number above 0")


def count_or_none(text: str) -> int:
    """A whole number, 0 included."""
    return _whole(text, 0, "a whole number, 0 or more")


def seed(text: str) -> int:
    """A seed of the noise, in the same range as the nodes'."""
    return _whole(text, 0, f"a whole number from 0 to {MOST_SEED}", MOST_SEED)


def duration(text: str) -> float:
    """Seconds, above 0."""
    return _number(text, lambda value: 0 < value < math.inf, "a number of seconds above 0")


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def strength(text: str) -> float:
    """A number above 0 up to 1."""
    return _number(text, lambda value: 0 < value <= 1, "a number above 0 up to 1")


def level(text: str) -> float:
    """A noise level: a number from 0 below 1."""
    return _number(text, lambda value: 0 <= value < 1, "a number from 0 below 1")


def size(text: str) -> tuple[int, int]:
    """Height x width in pixels, both multiples of 16."""
    found = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    sides = tuple(int(side) for side in found.groups()) if found else (0, 0)
    if not is_size(*sides):
        raise _unexpected("HEIGHTxWIDTH in multiples of 16 pixels, such as 480x832", text)
    return sides


def is_size(height: int, width: int) -> bool:
    """Whether a video can have this size in pixels."""
    return all(side > 0 and side % 16 == 0 for side in (height, width))


def latent_size(text: str) -> tuple[int, int]:
    """Height x width in latent pixels, both even."""
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    sides = tuple(int(side) for side in found.groups()) if found else (0, 0)
    if not all(sides) or any(side % 2 for side in sides):
        raise _unexpected("HEIGHTxWIDTH in even numbers of latent pixels, such as 60x104", text)
    return sides


def _whole(text: str, least: int, expected: str, most: float = math.inf) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise _unexpected(expected, text)
    return value


def _number(text: str, valid, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not valid(value):
        raise _unexpected(expected, text)
    return value


def _unexpected(expected: str, text: str) -> ArgumentTypeError:
    return ArgumentTypeError(f"expected {expected}, got {text!r}")
