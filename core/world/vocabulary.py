"""The toy world's language: a closed vocabulary, a tiny grammar and its embedding.

    a yellow triangle moving left and a cyan circle moving down

One or two objects, each a colour, a shape and a direction; other listed words are filler. The "text encoder" is
a fixed code with nothing to learn or download: one token per content word, a one-hot of the word joined with a
one-hot of the object it speaks of.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..wan.shape import TOY_TEXT_DIM

COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = ("left", "right", "up", "down")
FILLER = frozenset({"a", "an", "the", "and", "moving", "moves", "going", "goes", "with"})
MAX_OBJECTS = 2

_WORDS = (*COLOURS, *SHAPES, *DIRECTIONS)
_TOKENS_PER_OBJECT = 3
TEXT_TOKENS = MAX_OBJECTS * _TOKENS_PER_OBJECT
TEXT_DIM = TOY_TEXT_DIM
EXAMPLE = "a yellow triangle moving left and a cyan circle moving down"


@dataclass(frozen=True)
class ObjectPrompt:
    """What a prompt says of one object, as words of the vocabulary."""

    colour: str
    shape: str
    direction: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape} moving {self.direction}"


def parse_prompt(prompt: str) -> tuple[ObjectPrompt, ...]:
    """Read a prompt into its one or two objects.

    Raises:
        DummyForcingError: an unknown word, an incomplete object, no or too many objects, or a shared colour.
    """
    words = [word for word in re.findall(r"[^\s,.;]+", prompt.lower()) if word not in FILLER]
    for word in words:
        if word not in _WORDS:
            raise DummyForcingError(_unknown_word(word))
    if not words or len(words) % _TOKENS_PER_OBJECT or len(words) > TEXT_TOKENS:
        raise DummyForcingError(
            f"the toy world needs one or two objects of colour, shape and direction each, got {len(words)} such "
            f"words in {prompt!r}; write for example {EXAMPLE!r}"
        )
    objects = tuple(_object(words[i : i + 3], prompt) for i in range(0, len(words), 3))
    if len(objects) == 2 and objects[0].colour == objects[1].colour:
        raise DummyForcingError(
            f"both objects of {prompt!r} are {objects[0].colour}; give the objects different colours to "
            "tell them apart"
        )
    return objects


def write_prompt(objects: tuple[ObjectPrompt, ...]) -> str:
    """The canonical sentence for the given objects; `parse_prompt` inverts it."""
    return " and ".join(f"a {thing}" for thing in objects)


def embed_prompt(prompt: str) -> Tensor:
    """Prompt -> text embedding [1, TEXT_TOKENS, TEXT_DIM] fp32; a missing second object is zero padding."""
    embedding = torch.zeros(1, TEXT_TOKENS, TEXT_DIM)
    for slot, thing in enumerate(parse_prompt(prompt)):
        for role, word in enumerate((thing.colour, thing.shape, thing.direction)):
            token = embedding[0, slot * _TOKENS_PER_OBJECT + role]
            token[_WORDS.index(word)] = 1.0
            token[len(_WORDS) + slot] = 1.0
            token[-1] = 1.0
    return embedding


def _object(words: list[str], prompt: str) -> ObjectPrompt:
    colour, shape, direction = words
    if colour not in COLOURS or shape not in SHAPES or direction not in DIRECTIONS:
        raise DummyForcingError(
            f"expected colour, shape, direction in this order but found '{' '.join(words)}' in {prompt!r}; "
            f"write for example {EXAMPLE!r}"
        )
    return ObjectPrompt(colour, shape, direction)


def _unknown_word(word: str) -> str:
    close = difflib.get_close_matches(word, (*_WORDS, *FILLER), n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return (
        f"the toy world does not know the word '{word}'{hint}; use colours: {', '.join(COLOURS)}, "
        f"shapes: {', '.join(SHAPES)}, directions: {', '.join(DIRECTIONS)}"
    )
