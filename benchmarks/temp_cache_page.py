"""Puts the tables of TempCache's benchmarks into docs/temp_cache.md: `python benchmarks/temp_cache_page.py`.

Reads benchmarks/results/{toy_temp_cache,temp_cache_cost,toy_world_stream}.json; the text around is written by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs/temp_cache.md", ROOT / "benchmarks/results"


def _table(head: str, rows: list[str]) -> str:
    return "\n".join([head, "|".join(["", *["---"] * (head.count("|") - 1), ""]), *rows])


def _made(setting: dict) -> str:
    return f"`{setting['command']}`, {setting['machine']}, torch {setting['torch']}, {setting['date']}"


def quality(found: dict) -> str:
    """Score, PSNR and density by memory; recall by similarity."""
    rows = [
        f"| {row['memory']} | {row['history_frames']:.1f} | {row['density']:.0%} | {row['score']:.3f} | "
        + ("-" if row["psnr_to_dense"] is None else f"{row['psnr_to_dense']:.1f} dB")
        + " |"
        for row in found["quality"]
    ]
    recalls = [
        f"| {row['memory']} | {row['density_last_chunk']:.0%} | {row['recall']:.1%} | "
        f"{row['recall_last_chunk']:.1%} |"
        for row in found["recall"]
    ]
    setting = found["setting"]
    count = len(setting["prompts"])
    return "\n\n".join(
        [
            f"Made by {_made(setting)}: {setting['latents']} latent frames, {count} prompts.",
            _table("| memory | frames' worth of history | density | score | PSNR to dense |", rows),
            _table("| keys of a dense video merged | density, last chunk | recall, all chunks | last |", recalls),
        ]
    )


def cost(found: dict) -> str:
    """Times and bytes against dense at every length."""
    dense = {row["history"]: row for row in found["rows"] if row["memory"] == "dense"}
    rows = [
        f"| {row['history']} | {row['memory']} | {row['density']:.0%} | "
        f"{row['kv_bytes'] / dense[row['history']]['kv_bytes']:.0%} | "
        f"{dense[row['history']]['pass_seconds'] / row['pass_seconds']:.2f} | "
        f"{row['commit_seconds'] / row['chunk_seconds']:.0%} | "
        f"{dense[row['history']]['chunk_seconds'] / row['chunk_seconds']:.2f} |"
        for row in found["rows"]
    ]
    head = (
        "| latent frames of history | memory | density | KV against dense | a pass, times faster | "
        "commit, share of a chunk | a chunk, times faster |"
    )
    return "\n\n".join([f"Made by {_made(found['setting'])}.", _table(head, rows)])


def stream(found: dict) -> str:
    """Flatness, memory and quality of the long streams."""
    rows = []
    for row in found["rows"]:
        first, last = row["seconds_chunks_100_to_200"], row["seconds_last_100_chunks"]
        change = "-" if first is None or row["latents"] < 900 else f"{last / first - 1:+.1%}"
        low, high = (size / 2**20 for size in row["kv_bytes_from_chunk_2_on"])
        kv = f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
        values = row["psnr_to_dense_first_60"], row["score"]
        decibels, score = ("-" if each is None else each for each in values)
        rows.append(
            f"| {row['memory']} | {row['latents']} | {'-' if first is None else f'{first:.3f}'} | {last:.3f} | "
            f"{change} | {kv} | {row['density_last']:.1%} | "
            f"{decibels if decibels == '-' else f'{decibels:.1f} dB'} | "
            f"{score if score == '-' else f'{score:.3f}'} |"
        )
    head = (
        "| memory | latent frames made | CPU seconds a chunk, 100 to 200 | last 100 | change | KV, MiB | "
        "density at the end | PSNR to dense, first 60 | score |"
    )
    return "\n\n".join([f"Made by {_made(found['setting'])}.", _table(head, rows)])


def main() -> None:
    """Fill the page."""
    text = PAGE.read_text()
    for name, write in (("toy_temp_cache", quality), ("temp_cache_cost", cost), ("toy_world_stream", stream)):
        file = RESULTS / f"{name}.json"
        if file.exists():
            part = f"<!-- {name} -->\n{write(json.loads(file.read_text()))}\n<!-- end -->"
            text = re.sub(f"<!-- {name} -->.*?<!-- end -->", lambda _, part=part: part, text, flags=re.DOTALL)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
