"""Where in a trainer's file the weights are. Averages of them, critics and optimisers may lie beside them.

Of all mappings that hold tensors by name, one is taken. The first rule that makes a difference decides:

1. A mapping with a model's layers comes before loose numbers and the state of an optimiser.
2. A critic, teacher or discriminator is never taken: these only serve the training.
3. An average over the training ("ema" in the name) comes before the weights that it averages: where a file has
   both, its authors run the average (docs/references.md, "Published files").
4. Then the names of `CONTAINERS` count in their order, then the outermost level, then the order in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import DummyForcingError
from ..layouts.wrapped_names import CONTAINERS, WRAPPERS

_DEPTH = 4  # containers within containers
_LAYER = re.compile(r"(?:^|[._])(?:blocks[._]\d+[._]|patch_embedding\.|encoder\.|decoder\.)")
_OF_THE_TRAINING = frozenset({"critic", "fake", "real", "teacher", "discriminator", "optimizer", "optim"})
_AVERAGE = "ema"


@dataclass(frozen=True, eq=False)
class Weights:
    """What is taken from a file.

    Attributes:
        tensors: by name. Containers that trainers use (`WRAPPERS`) stay as the beginning of the names; the names of
            other containers are left out.
        choice: where the weights lay and what was left unused, for people; empty where there was nothing to choose.
    """

    tensors: dict[str, Tensor]
    choice: str


@dataclass(frozen=True, eq=False)
class _Place:
    path: tuple[str, ...]
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def words(self) -> frozenset[str]:
        return frozenset(re.split(r"[._]", self.name.lower()))

    @property
    def holds_layers(self) -> bool:
        return any(map(_LAYER.search, self.tensors))

    @property
    def is_of_the_training(self) -> bool:
        return not _OF_THE_TRAINING.isdisjoint(self.words)

    @property
    def rank(self) -> tuple[bool, bool, bool, int]:
        """The place with the lowest rank is taken."""
        first = self.path[0] if self.path else None
        known = CONTAINERS.index(first) if first in CONTAINERS else len(CONTAINERS) + bool(self.path)
        return not self.holds_layers, self.is_of_the_training, _AVERAGE not in self.words, known


def find_weights(stored: object, what: str) -> Weights:
    """Find the weights in what a PyTorch file holds; whatever is no plain tensor is left out.

    A file without tensors gives `Weights` without tensors.

    Args:
        what: the file that is read; error messages begin with it.

    Raises:
        DummyForcingError: the file holds nothing but parts that only serve the training.
    """
    places = sorted(_places(stored), key=lambda place: place.rank)
    if not places:
        return Weights({}, "")
    taken = places[0]
    if taken.holds_layers and taken.is_of_the_training:
        raise DummyForcingError(
            f"{what} holds only {taken.name!r}, a part of the training and not the model; choose the checkpoint "
            "that has the model itself"
        )
    known = WRAPPERS.issuperset(taken.path)
    prefix = "".join(f"{part}." for part in taken.path) if known else ""
    return Weights({prefix + name: value for name, value in taken.tensors.items()}, _choice(places, known))


def _choice(places: list[_Place], known: bool) -> str:
    taken, *others = places
    aside = [place.name for place in others if place.holds_layers and not place.is_of_the_training and place.path]
    if not aside:
        return "" if known else f"its weights lie in {taken.name!r}"
    why = ", the average" if _AVERAGE in taken.words else ""
    return f"its weights are those in {taken.name!r}{why}; {', '.join(map(repr, aside))} beside it stays unused"


def _places(stored: object) -> Iterator[_Place]:
    """Every mapping that holds tensors, outer ones first; each only once, since a mapping could hold itself."""
    level: list[tuple[tuple[str, ...], object]] = [((), stored)]
    seen: set[int] = set()
    for _ in range(_DEPTH + 1):
        deeper = []
        for path, value in level:
            if not isinstance(value, Mapping) or id(value) in seen:
                continue
            seen.add(id(value))
            named = {name: each for name, each in value.items() if isinstance(name, str)}
            tensors = {name: each.detach() for name, each in named.items() if is_plain(each)}
            if tensors:
                yield _Place(path, tensors)
            deeper += [((*path, name), each) for name, each in named.items() if isinstance(each, Mapping)]
        level = deeper


def is_plain(value: object) -> bool:
    """Whether it is a tensor with data that is neither sparse nor quantised by PyTorch."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )
