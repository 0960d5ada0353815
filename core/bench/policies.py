"""Memories as they are typed: `dense`, `window:12:3`, `dummy-forcing:0.5:4+light-forcing:0.9`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import DummyForcingError
from ..heads.roles import HeadRole
from ..memory.ann_sa import AnnSA
from ..memory.config import MemoryConfig
from ..memory.dense import Dense
from ..memory.dummy_forcing import DummyForcing, Roles
from ..memory.keep import KeepPolicy
from ..memory.light_forcing import PRESETS, LightForcing
from ..memory.quantised_kv import QuantisedKV
from ..memory.window import RollingWindow, Window

DENSE = "dense"
SYNTAX = (
    "dense, window[:SIZE[:SINK]], rolling-window[:SIZE[:SINK]] or dummy-forcing[:RATIO[:LOCAL CHUNKS]], and after "
    "it +light-forcing[:SPARSITY[:PRESET]] or +ann[:SHARE|lsh[:BITS]], and +kv[:int8|fp8]"
)


@dataclass(frozen=True)
class BenchPolicy:
    """A memory under the name it was typed with."""

    name: str
    memory: MemoryConfig


def parse_policies(texts: list[str] | tuple[str, ...]) -> tuple[BenchPolicy, ...]:
    """Raises DummyForcingError for a policy that cannot be, or that is named twice."""
    policies = tuple(BenchPolicy(text, parse_policy(text)) for text in texts)
    for index, policy in enumerate(policies):
        if policy.memory in [other.memory for other in policies[:index]]:
            raise DummyForcingError(f"{policy.name} is named twice; leave one out")
    return policies


def parse_policy(text: str) -> MemoryConfig:
    """One memory: what is kept, then with a + before each how that is held and read.

    Raises DummyForcingError for anything that is none.
    """
    kept, *added = text.split("+")
    try:
        slots: dict[str, object] = {}
        for part in added:
            kind, *values = part.split(":")
            slot, parse = _ADDED[kind]
            if slot in slots:
                raise DummyForcingError(f"{part} is one too many; there is one method for '{slot}'")
            slots[slot] = parse(values)
        return MemoryConfig(_parse_keep(*kept.split(":")), **slots)
    except DummyForcingError as error:
        raise DummyForcingError(f"policy {text}: {error.message}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DummyForcingError(f"unknown policy {text!r}; expected {SYNTAX}") from error


def _parse_keep(kind: str, *values: str) -> KeepPolicy:
    """Raises ValueError for what is none."""
    if kind == DENSE and not values:
        return Dense()
    if kind in ("window", "rolling-window") and len(values) <= 2:
        sizes = dict(zip(("size", "sink"), map(int, values), strict=False))
        return (Window if kind == "window" else RollingWindow)(**sizes)
    if kind == "dummy-forcing" and len(values) <= 2:
        return _dummy_forcing(values)
    raise ValueError(kind)


def _light_forcing(values: Sequence[str]) -> LightForcing:
    if len(values) > 2:
        raise ValueError(values)
    method = PRESETS[values[1]] if len(values) > 1 else LightForcing()
    return replace(method, sparsity=float(values[0]), base=None) if values else method


def _ann(values: Sequence[str]) -> AnnSA:
    """No layer is switched off: random keys are found as rarely as others, and that says nothing."""
    if len(values) > 2:
        raise ValueError(values)
    method = AnnSA(min_recall=0.0)
    if values:
        method = replace(method, search="lsh") if values[0] == "lsh" else replace(method, share=float(values[0]))
    return replace(method, bits=int(values[1])) if len(values) > 1 else method


_ADDED: dict[str, tuple[str, Callable[[Sequence[str]], object]]] = {
    "light-forcing": ("select", _light_forcing),
    "ann": ("select", _ann),
    "kv": ("merge", lambda values: QuantisedKV(*values)),
}
"""What may follow a +: the slot that it fills, and how its values are read."""


def _dummy_forcing(values: Sequence[str]) -> DummyForcing:
    options = {}
    if values:
        options["dummy_ratio"] = float(values[0])
    if len(values) > 1:
        options["local_context"] = None if values[1] == "all" else int(values[1])
    return DummyForcing(**options)


def with_roles(memory: MemoryConfig, layers: int, heads: int, seed: int) -> MemoryConfig:
    """The memory with roles given where it would measure them.

    Random weights have no dummy heads, and history that was never computed cannot be scored. Half of the heads that
    are no dummies become sink heads, half neighbor heads, about what published models show; which is which is drawn
    over all layers, as head programming may put them anywhere.
    """
    keep = memory.keep
    if not isinstance(keep, DummyForcing) or keep.roles is not None:
        return memory
    return replace(memory, keep=replace(keep, roles=_draw_roles(keep.dummy_ratio, layers, heads, seed)))


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
