"""Output for people: tables and notes, and where they are printed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ..core.heads.roles import HeadRole, count_roles

if TYPE_CHECKING:
    from rich.console import Console


def open_console(json_target: str | None = None) -> Console:
    """The console on stdout, or on stderr when the JSON report has stdout for itself."""
    from rich.console import Console

    return Console(stderr=json_target == "-", markup=False, highlight=False)


def require(*modules: str) -> None:
    """Import optional modules now, so that a missing one ends the command before any work is done."""
    for module in modules:
        importlib.import_module(module)


def say(console: Console, text: str) -> None:
    """Print a line as it is, however narrow the console."""
    console.print(text, soft_wrap=True)


def print_roles(console: Console, roles: Tensor) -> None:
    """A table of head counts per layer and role, with totals."""
    rows = [(str(layer), row) for layer, row in enumerate(roles)] + [("all", roles)]
    body = [(name, *(str(count) for count in count_roles(part).values())) for name, part in rows]
    print_table(console, ("layer", *(role.label for role in HeadRole)), body, rule_before_last=True)


def print_table(
    console: Console, header: Sequence[str], rows: Iterable[Sequence[str]], *, rule_before_last: bool = False
) -> None:
    """A table with a left-aligned first column and right-aligned others."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for index, title in enumerate(header):
        table.add_column(title, justify="right" if index else "left", no_wrap=True)
    rows = list(rows)
    for index, row in enumerate(rows):
        table.add_row(*row, end_section=rule_before_last and index == len(rows) - 2)
    console.print(table)
