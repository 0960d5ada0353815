"""Writes tests/data/head_programming.json, which the tests in Python and in JavaScript both read.

    python3 tests/shared/head_programming_cases.py > tests/data/head_programming.json

Dynamic head programming once more, in plain Python and one head at a time, as web/PROTOCOL.md words it. What it
gives, `core/heads/programming.py` and `web/heads/programming.js` have to give too.
"""

from __future__ import annotations

import json
import random

ROLES = ("sink", "neighbor", "dummy")
SINK, NEIGHBOR, DUMMY = range(3)


def program(masses: list, dummy_ratio: float, cost: str, forced_roles: str) -> list[list[int]]:
    """Roles [layers][heads]."""
    forced = {}
    for part in filter(None, forced_roles.split(", ")):
        place, role = part.split("=")
        forced[tuple(map(int, place.split(":")))] = ROLES.index(role)
    heads = {(y, x): head for y, layer in enumerate(masses) for x, head in enumerate(layer)}
    sums = [sum(head[part] for head in heads.values()) if cost == "normalised" else 1 for part in (0, 1)]
    found, costs = {}, {}
    for place, head in heads.items():
        first, history = (head[part] / sums[part] if sums[part] else 0 for part in (0, 1))
        found[place], costs[place] = SINK if first >= history else NEIGHBOR, max(first, history)
    left = round(dummy_ratio * len(heads)) - sum(role == DUMMY for role in forced.values())
    others = sorted((place for place in heads if place not in forced), key=costs.get)  # equal costs stay in order
    found |= dict.fromkeys(others[: max(0, left)], DUMMY) | forced
    return [[found[y, x] for x in range(len(layer))] for y, layer in enumerate(masses)]


def retained(masses: list, roles: list[list[int]]) -> float:
    """Mean over heads of the attention that a head keeps under its role."""
    pairs = [pair for layer in zip(masses, roles, strict=True) for pair in zip(*layer, strict=True)]
    return sum(head[2] + (head[role] if role != DUMMY else 0) for head, role in pairs) / len(pairs)


def drawn(layers: int, heads: int, seed: int) -> list:
    """Random masses with 6 significant digits, as a head map has them; little of them on frame 0, as in models."""
    source = random.Random(seed)
    parts = [[[source.expovariate(rate) for rate in (3, 1, 0.5)] for _ in range(heads)] for _ in range(layers)]
    return [[[float(f"{part / sum(head):.6g}") for part in head] for head in layer] for layer in parts]


def case(masses: list, dummy_ratio: float, cost: str = "normalised", forced_roles: str = "") -> dict:
    roles = program(masses, dummy_ratio, cost, forced_roles)
    return {
        "masses": masses,
        "dummy_ratio": dummy_ratio,
        "cost": cost,
        "forced_roles": forced_roles,
        "roles": roles,
        "retained": retained(masses, roles),
    }


def cases() -> list[dict]:
    small, large = drawn(3, 4, seed=1), drawn(30, 12, seed=2)
    alike = [[[0.25, 0.25, 0.5]] * 3] * 3
    pairs = [[[0.125, 0.25, 0.625], [0.25, 0.125, 0.625]], [[0.25, 0.125, 0.625], [0.125, 0.25, 0.625]]]
    blind = [[[0.0, 0.0, 1.0]] * 2] * 2
    last = "29:0=dummy, 29:11=neighbor"
    return [
        case(small, 0.5),
        case(small, 0.5, "paper"),
        case(small, 0),
        case(small, 1),
        case(small, 0.25, "paper", "0:1=sink, 2:3=dummy"),
        case(small, 0.1, "normalised", "0:0=dummy, 0:1=dummy, 1:2=dummy"),  # more than the ratio asks for
        case(small, 1, "paper", "1:1=neighbor, 1:2=sink"),  # fewer others than the ratio asks for
        case(small, 0, "normalised", "2:0=dummy"),
        case(alike, 0.5),  # 4.5 heads: half goes to the even number
        case(alike, 0.5, "paper", "0:0=neighbor, 0:2=sink"),
        case(pairs, 0.5, "normalised"),
        case(pairs, 0.25, "paper", "0:0=neighbor"),
        case(blind, 0.25),
        case(large, 0.5),
        case(large, 0.37, "paper", f"0:3=sink, 7:7=dummy, {last}"),
    ]


if __name__ == "__main__":
    print('{"cases": [')
    print(",\n".join(json.dumps(each) for each in cases()))
    print("]}")
