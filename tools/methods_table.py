"""Writes docs/methods.md from what methods declare (`core/methods`).

.venv/bin/python tools/methods_table.py
"""

from __future__ import annotations

from pathlib import Path

from dummy_forcing.core.bench.typed_memories import BENCH_SLOTS
from dummy_forcing.core.methods.base import SLOTS, Method, methods
from dummy_forcing.core.methods.declaration import Option, default_of, options_of

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "methods.md"

_HEAD = """# Methods

What can fill each slot of a memory, as the methods declare it ([how one is added](adding_a_method.md)). Names are
those of the command line and of `dummy-forcing bench`; options are those of the nodes too. Made by
`python tools/methods_table.py`.
"""


def document() -> str:
    """The whole text of docs/methods.md."""
    return _HEAD + "".join(_slot(slot, decides) for slot, decides in SLOTS.items())


def _slot(slot: str, decides: str) -> str:
    found = methods(slot).values()
    rows = [f"| **{each.title}** | `{each.typed()}` | {each.about} |" for each in found]
    table = "\n".join(["| method | name | what it does |", "|---|---|---|", *rows])
    return f"\n## {slot}: {decides}\n\n{table}\n" + "".join(map(_options, found))


def _options(method: type[Method]) -> str:
    declared = options_of(method)
    if not declared:
        return ""
    rows = []
    for field, option in declared.items():
        default = default_of(method, field)
        values = _values(option, default)
        rows.append(f"| {field.replace('_', ' ')} | {_shown(default)} | {values} | {option.help} |")
    bench = f", in the bench `{method.bench_syntax()}`" if method.slot in BENCH_SLOTS else ""
    head = f"\n{method.title}{bench}:\n\n"
    return head + "\n".join(["| option | default | values | |", "|---|---|---|---|", *rows]) + "\n"


def _values(option: Option, default: object) -> str:
    if isinstance(default, bool):
        return "True or False"
    return option.expected if option.choices or option.low is not None else "-"


def _shown(value: object) -> str:
    return "-" if value in (None, ()) else str(value)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(f"wrote {DOCUMENT}")
