"""What people read: tables, notes and where they go."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ..core.heads.roles import HeadRole, count_roles
from .progress import format_bytes
from .run import RunReport

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


def describe_run(report: RunReport) -> str:
    """A run's figures in one line."""
    return (
        f"{report.pixel_frames} frames in {report.seconds:.1f} s: {report.dit_fps:.2f} DiT FPS, "
        f"{report.end_to_end_fps:.2f} FPS end to end, KV {format_bytes(report.kv_bytes)} "
        f"(peak {format_bytes(report.kv_peak_bytes)})"
    )


def describe_roles(roles: Tensor) -> str:
    """Head counts in one line: "16 heads: 3 sink, 5 neighbor, 8 dummy"."""
    counts = ", ".join(f"{count} {label}" for label, count in count_roles(roles).items())
    return f"{roles.numel()} heads: {counts}"


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
