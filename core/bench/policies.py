"""Policies as they are typed: `dense`, `window:12:3`, `dummy-forcing:0.5:1`."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from ..errors import DummyForcingError
from ..heads.roles import HeadRole
from ..memory.dense import Dense
from ..memory.dummy_forcing import DummyForcing, Roles
from ..memory.keep import KeepPolicy
from ..memory.window import RollingWindow, Window

DENSE = "dense"
SYNTAX = "dense, window[:SIZE[:SINK]], rolling-window[:SIZE[:SINK]], dummy-forcing[:RATIO[:LOCAL CHUNKS]]"


@dataclass(frozen=True)
class BenchPolicy:
    """A keep policy under the name it was typed with."""

    name: str
    keep: KeepPolicy


def parse_policies(texts: list[str] | tuple[str, ...]) -> tuple[BenchPolicy, ...]:
    """Raises DummyForcingError for a policy that cannot be, or that is named twice."""
    policies = tuple(BenchPolicy(text, parse_policy(text)) for text in texts)
    for index, policy in enumerate(policies):
        if policy.keep in [other.keep for other in policies[:index]]:
            raise DummyForcingError(f"{policy.name} is named twice; leave one out")
    return policies


def parse_policy(text: str) -> KeepPolicy:
    """One policy; raises DummyForcingError for anything that is none."""
    kind, *values = text.split(":")
    try:
        if kind == DENSE and not values:
            return Dense()
        if kind in ("window", "rolling-window") and len(values) <= 2:
            sizes = dict(zip(("size", "sink"), map(int, values), strict=False))
            return (Window if kind == "window" else RollingWindow)(**sizes)
        if kind == "dummy-forcing" and len(values) <= 2:
            return _dummy_forcing(values)
    except DummyForcingError as error:
        raise DummyForcingError(f"policy {text}: {error}") from error
    except ValueError:
        pass
    raise DummyForcingError(f"unknown policy {text!r}; expected {SYNTAX}")


def _dummy_forcing(values: list[str]) -> DummyForcing:
    options = {}
    if values:
        options["dummy_ratio"] = float(values[0])
    if len(values) > 1:
        options["local_context"] = None if values[1] == "all" else int(values[1])
    return DummyForcing(**options)


def with_roles(keep: KeepPolicy, layers: int, heads: int, seed: int) -> KeepPolicy:
    """The policy with roles given where it would measure them.

    Random weights have no dummy heads, and history that was never computed cannot be scored. Half of the heads that
    are no dummies become sink heads, half neighbor heads, about what published models show; which is which is drawn
    over all layers, as head programming may put them anywhere.
    """
    if not isinstance(keep, DummyForcing) or keep.roles is not None:
        return keep
    return replace(keep, roles=_draw_roles(keep.dummy_ratio, layers, heads, seed))


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
