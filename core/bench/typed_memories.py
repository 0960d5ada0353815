"""Memories as they are typed: `dense`, `window:12:3`, `dummy-forcing:0.5:4+light-forcing:0.9`."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from ..errors import DummyForcingError
from ..heads.roles import HeadRole
from ..memory_config import MemoryConfig
from ..methods.base import Method, methods
from ..methods.dummy_forcing import Roles

DENSE = "dense"
_ADDED_SLOTS = ("merge", "select")
BENCH_SLOTS = ("keep", *_ADDED_SLOTS)
"""Slots whose methods can be typed."""
_NOTHING = ("none", "all")  # methods that leave their slot as it is


def syntax() -> str:
    """What can be typed, in words."""
    kept = " or ".join(method.bench_syntax() for method in methods("keep").values())
    added = ", ".join(f"+{method.bench_syntax()}" for _, method in _added().values())
    return f"{kept}, and after it {added}"


@dataclass(frozen=True)
class BenchPolicy:
    """A memory under the name it was typed with."""

    name: str
    memory: MemoryConfig


def parse_policies(texts: list[str] | tuple[str, ...]) -> tuple[BenchPolicy, ...]:
    """Raises DummyForcingError for a policy that is invalid or named twice."""
    policies = tuple(BenchPolicy(text, parse_policy(text)) for text in texts)
    for index, policy in enumerate(policies):
        if policy.memory in [other.memory for other in policies[:index]]:
            raise DummyForcingError(f"{policy.name} is named twice; leave one out")
    return policies


def parse_policy(text: str) -> MemoryConfig:
    """One memory: what is kept, then how that is held and how it is read, each after a +.

    Raises DummyForcingError for any other text.
    """
    kept, *added = text.split("+")
    try:
        slots: dict[str, object] = {"keep": _parse({each.typed(): each for each in methods("keep").values()}, kept)}
        for part in added:
            slot, method = _added()[part.split(":")[0]]
            if slot in slots:
                raise DummyForcingError(f"{part} is one too many; there is one method for '{slot}'")
            slots[slot] = _parse({method.typed(): method}, part)
        return MemoryConfig(**slots)
    except DummyForcingError as error:
        raise DummyForcingError(f"policy {text}: {error.message}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DummyForcingError(f"unknown policy {text!r}; expected {syntax()}") from error


def _parse(known: dict[str, type[Method]], text: str) -> Method:
    """A method and its values, separated by colons; raises KeyError or ValueError for any other text."""
    name, *values = text.split(":")
    return known[name].from_bench(values)


def _added() -> dict[str, tuple[str, type[Method]]]:
    """What may follow a +: for each name that can be typed, the slot that it fills and the method."""
    return {
        method.typed(): (slot, method)
        for slot in _ADDED_SLOTS
        for method in methods(slot).values()
        if method.name not in _NOTHING
    }


def with_roles(memory: MemoryConfig, layers: int, heads: int, seed: int) -> MemoryConfig:
    """The memory with drawn roles if it would measure them.

    Random weights have no dummy heads, and a history that was never computed cannot be scored. Of the heads that
    are not dummies, half become sink heads and half neighbor heads, about what published models show. Roles are
    drawn over all layers at once, since head programming may put them anywhere.
    """
    keep = memory.keep
    if not keep.needs_measurement:
        return memory
    return replace(memory, keep=keep.with_roles(_draw_roles(keep.dummy_ratio, layers, heads, seed)))


def _draw_roles(dummy_ratio: float, layers: int, heads: int, seed: int) -> Roles:
    count = layers * heads
    dummies = round(dummy_ratio * count)
    sinks = (count - dummies) // 2
    kinds = [HeadRole.DUMMY] * dummies + [HeadRole.SINK] * sinks
    kinds += [HeadRole.NEIGHBOR] * (count - len(kinds))
    random.Random(seed).shuffle(kinds)
    return tuple(
        tuple(kind.value for kind in kinds[layer * heads : (layer + 1) * heads]) for layer in range(layers)
    )
