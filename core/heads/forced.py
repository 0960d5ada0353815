"""Head roles set by hand: a text such as "3:5=sink, 10:2=dummy", and the heads that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DummyForcingError
from .roles import HeadRole

if TYPE_CHECKING:
    from torch import Tensor

ForcedRoles = tuple[tuple[int, int, int], ...]
"""(layer, head, value of `HeadRole`) of each head whose role is set by hand, sorted, every head once."""

EXAMPLE = "3:5=sink, 10:2=dummy"

_PART = re.compile(r"([0-9]{1,6})\s*:\s*([0-9]{1,6})\s*=\s*(\w+)")
_ROLES = {role.label: role.value for role in HeadRole}
_MOST_SHOWN = 40  # characters of an invalid text in an error message


def parse_forced_roles(text: str) -> ForcedRoles:
    """Read comma-separated `layer:head=role`, both counted from 0; spaces are free, an empty text forces nothing.

    Raises DummyForcingError for anything else, and for a head with two roles.
    """
    found: dict[tuple[int, int], int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        match = _PART.fullmatch(part)
        role = _ROLES.get(match[3]) if match else None
        if role is None:
            raise DummyForcingError(
                f"{part[:_MOST_SHOWN]!r} forces no head role; write layer:head=role, counted from 0, with one of "
                f"{', '.join(_ROLES)}, for example {EXAMPLE!r}"
            )
        place = int(match[1]), int(match[2])
        if found.setdefault(place, role) != role:
            labels = " and ".join(HeadRole(each).label for each in (found[place], role))
            raise DummyForcingError(
                f"head {place[0]}:{place[1]} is forced to be {labels}; leave one of the two roles out"
            )
    return _sorted(found)


def format_forced_roles(forced: ForcedRoles) -> str:
    """The text that `parse_forced_roles` reads, sorted by layer and head."""
    return ", ".join(f"{layer}:{head}={HeadRole(role).label}" for layer, head, role in forced)


def merge_forced_roles(below: ForcedRoles, above: ForcedRoles) -> ForcedRoles:
    """The forced roles of both; a head that is in both gets its role from `above`."""
    return _sorted({(layer, head): role for layer, head, role in (*below, *above)})


def are_forced_roles(value: Sequence[Any]) -> bool:
    """Whether a value has the form of `ForcedRoles`."""
    try:
        places = [(layer, head) for layer, head, _ in value]
        known = all(role in _ROLES.values() for _, _, role in value)
    except (TypeError, ValueError):
        return False
    whole = all(isinstance(number, int) and number >= 0 for place in places for number in place)
    return known and whole and places == sorted(set(places))


def check_forced_roles(forced: ForcedRoles, layers: int, heads: int) -> None:
    """Raise DummyForcingError unless the model has all of these heads."""
    outside = [f"{layer}:{head}" for layer, head, _ in forced if layer >= layers or head >= heads]
    if outside:
        raise DummyForcingError(
            f"a role is forced on head {outside[0]}, but the model has {layers} layers x {heads} heads (0:0 to "
            f"{layers - 1}:{heads - 1}); correct or remove the forced roles"
        )


def force_roles(roles: Tensor, forced: ForcedRoles) -> Tensor:
    """A copy of `roles` [layers, heads] with these forced; DummyForcingError for a head that does not exist."""
    check_forced_roles(forced, *roles.shape)
    roles = roles.clone()
    for layer, head, role in forced:
        roles[layer, head] = role
    return roles


def _sorted(found: dict[tuple[int, int], int]) -> ForcedRoles:
    return tuple((*place, role) for place, role in sorted(found.items()))
