"""docs/ann_attention.md and its picture, from what `ann_search.py`, `toy_ann.py` and the bench have measured."""

from __future__ import annotations

import json
import re
from statistics import fmean
from typing import Any

from toy_finding import ROOT, SAME

from dummy_forcing.core.media.chart import Line, Panel, draw_panels

PAGE, IMAGE = ROOT / "docs/ann_attention.md", "images/ann_recall.png"
RESULTS = ROOT / "benchmarks/results"
_TITLES = {"diffuse": "heads that look at much", "sharp": "heads that look at little"}
_TABLE_ROWS = (
    "quant, 6 bits, share 0.125",
    "quant, 6 bits, share 0.25",
    "quant, 8 bits, share 0.125",
    "lsh, 4 bits, radius 1",
    "lsh, 6 bits, radius 1",
    "lsh, 8 bits, radius 2",
)


def write_page() -> None:
    """Fill the figures into the text; what lies between its markers is replaced."""
    found = json.loads((RESULTS / "ann_search.json").read_text())
    toy = json.loads((RESULTS / "toy_ann.json").read_text())
    bench = RESULTS / "bench_ann.json"
    kinds = {kind: found[f"{kind} heads"] for kind in _TITLES}
    panels = [_panel(kind, each) for kind, each in kinds.items()]
    draw_panels(panels, "density", (0.0, 1.0)).save(PAGE.parent / IMAGE)
    page = PAGE.read_text("utf-8")
    tables = {
        "keys": _keys_table(kinds),
        "time": _time_table(found),
        "bench": _bench_table(json.loads(bench.read_text())) if bench.is_file() else "",
        "toy": _toy_table(toy),
        "prompt": _prompt_text(found["prompt"]),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        page = re.sub(f"{begin}.*?{end}", lambda _, t=f"{begin}{table}{end}": t, page, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


def _panel(kind: str, found: dict[str, Any]) -> Panel:
    def line(name: str, rows: list[dict[str, float]]) -> Line:
        return Line(name, tuple(sorted((row["density"], row["recall"]) for row in rows)))

    searches = found["searches"]
    return Panel(
        f"{_TITLES[kind]}: attention found",
        (
            line("lsh, 6 bits", [row for name, row in searches.items() if name.startswith("lsh, 6")]),
            line("quant, 6 bits", [row for name, row in searches.items() if name.startswith("quant, 6")]),
            line("best keys", found["best"]),
            line("random keys", found["random"]),
        ),
    )


def _keys_table(kinds: dict[str, Any]) -> str:
    lines = ["| search | " + " | ".join(f"{_TITLES[kind]}: density | recall | random" for kind in kinds) + " |"]
    lines.append("|---|" + "---|" * 3 * len(kinds))
    for name in _TABLE_ROWS:
        cells = []
        for found in kinds.values():
            row = found["searches"][name]
            share = (row["density"] - _OWN) / (1 - _OWN)
            chance = found["own"] + share * (1 - found["own"])
            cells += [f"{row['density']:.0%}", f"{row['recall']:.1%}", f"{chance:.1%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_OWN = 3 / 21  # share of the own chunk among the keys


def _time_table(found: dict[str, Any]) -> str:
    head = "| history, frames | search | density | search, of a dense pass | sort, once a chunk | pass | chunk |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in (each for name, each in found.items() if name.startswith("behind")):
        for name in ("quant", "lsh"):
            lines.append(
                f"| {row['history']} | {name} | {row[f'{name} density']:.0%} | {row[f'{name} search']:.0%} | "
                f"{row[f'{name} sort']:.0%} | {row[f'{name} pass']:.2f}x | {row[f'{name} chunk']:.2f}x |"
            )
    return "\n".join(lines) + "\n"


def _bench_table(bench: dict[str, Any]) -> str:
    lines = ["| memory | latent frames | self-attention, dense over this | whole pass |", "|---|---|---|---|"]
    lines += [
        f"| {row['policy']} | {row['latent_frames']} | {row['attention_ratio']:.2f}x | "
        f"{row['ratio_to_dense']:.2f}x |"
        for row in bench["rows"]
    ]
    return "\n".join(lines) + "\n"


def _prompt_text(found: dict[str, float]) -> str:
    faster = f"takes {1 / found['ratio']:.2f} times as long as dense cross-attention here"
    return (
        f"Dense cross-attention takes {found['share of self']:.1%} of the time of dense self-attention, measured "
        f"as above, over 512 tokens of which 432 are padding; AnnCA, hashing queries included, {faster}.\n"
    )


def _toy_table(toy: dict[str, Any]) -> str:
    lines = ["| memory | keys read | recall | score | PSNR to dense, dB |", "|---|---|---|---|---|"]
    for name, row in toy.items():
        read = f"{row['density']:.0%}" if "density" in row else "-"
        recall = f"{row['recall']:.0%}" if "recall" in row else "-"
        distance = fmean(row["psnr"])
        lines.append(
            f"| {name} | {read} | {recall} | {fmean(row['score']):.3f} | "
            f"{'-' if distance == SAME else format(distance, '.1f')} |"
        )
    return "\n".join(lines) + "\n"
