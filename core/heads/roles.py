"""The three roles that Dummy Forcing gives to attention heads (arXiv 2601.20499, section 3)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Cost = Literal["normalised", "paper"]
"""How the loss of a head is weighed; see `program_heads`."""

# Blue and orange of the Okabe-Ito palette plus grey: distinct under every common colour-vision deficiency,
# also when tinted, because grey never takes on a hue. Grey also says that a dummy head ignores history.
_COLOURS = ("#0072B2", "#D98200", "#4A4A4A")


class HeadRole(IntEnum):
    """What a head reads besides the current chunk; the numbers are those stored in profiles."""

    SINK = 0
    """Latent frame 0."""
    NEIGHBOR = 1
    """The latest latent frames before the current chunk."""
    DUMMY = 2
    """Next to nothing: the head attends to the current chunk."""

    @property
    def label(self) -> str:
        """Name in plots, tables and files."""
        return self.name.lower()

    @property
    def colour(self) -> str:
        """Colour-blind-safe colour in plots, "#RRGGBB"."""
        return _COLOURS[self.value]


def count_roles(roles: Tensor) -> dict[str, int]:
    """How many heads of `roles` (int64, [layers, heads]) have each role, keyed by label, in role order."""
    return {role.label: int((roles == role.value).sum()) for role in HeadRole}


def heads_to_dict(roles: Tensor | None) -> dict[str, Any] | None:
    """Counts by role and the table [layers][heads] of role numbers; None stays None."""
    return None if roles is None else {"counts": count_roles(roles), "roles": roles.tolist()}


def describe_roles(roles: Tensor) -> str:
    """Head counts in one line: "16 heads: 3 sink, 5 neighbor, 8 dummy"."""
    counts = ", ".join(f"{count} {label}" for label, count in count_roles(roles).items())
    return f"{roles.numel()} heads: {counts}"
