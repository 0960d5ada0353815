"""A change of prompt on the toy world, by every switch method and memory: `python benchmarks/toy_prompts.py`.

Videos begin under one prompt and go on under another that asks for other colours, shapes or directions of the same
two objects. The pixels of every chunk are scored against both prompts. Writes benchmarks/results/toy_prompts.json,
docs/toy_prompts.md and docs/images/toy_prompts.svg.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev

import torch

from dummy_forcing.core.memory.config import MemoryConfig
from dummy_forcing.core.memory.dense import Dense
from dummy_forcing.core.memory.dummy_forcing import DummyForcing
from dummy_forcing.core.memory.window import Window
from dummy_forcing.core.stream.decode import StreamingDecoder
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompts import NO_CHANGES, PromptSchedule, PromptSwitch, ScheduledPrompt
from dummy_forcing.core.world.score import score_video
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.vocabulary import (
    COLOURS,
    SHAPES,
    ObjectPrompt,
    embed_prompt,
    parse_prompt,
    write_prompt,
)

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "benchmarks/results/toy_prompts.json"
PROMPTS = (
    # Each object crosses the picture on a lane of its own: in view for about four chunks, never one blob.
    "a red circle moving right and a blue square moving left",
    "a cyan square moving down and a magenta triangle moving up",
    "a green triangle moving right and a red circle moving left",
    "a yellow square moving down and a blue circle moving up",
)
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
KINDS = ("colour", "shape", "direction")
MEMORIES = {"dense": Dense(), "window": Window(sink=1, size=7), "Dummy Forcing": DummyForcing()}
SWITCHES = {
    "cross-attention": PromptSwitch("cross-attention"),
    "recache": PromptSwitch("recache", recache_frames=12),
    "flush": PromptSwitch("flush"),
    "interpolate": PromptSwitch("interpolate", chunks=2),
}
UNCHANGED, ANEW = "no change", "new prompt from the start"


def changed(prompt: str, kind: str) -> str:
    """The prompt with both objects' colour, shape or direction changed."""
    return write_prompt(tuple(_changed(thing, kind) for thing in parse_prompt(prompt)))


def _changed(thing: ObjectPrompt, kind: str) -> ObjectPrompt:
    if kind == "colour":
        return replace(thing, colour=COLOURS[(COLOURS.index(thing.colour) + 2) % len(COLOURS)])
    if kind == "shape":
        return replace(thing, shape=SHAPES[(SHAPES.index(thing.shape) + 1) % len(SHAPES)])
    return replace(thing, direction=OPPOSITE[thing.direction])


PAIRS = tuple((prompt, changed(prompt, kind), kind) for kind, prompt in itertools.product(KINDS, PROMPTS))


def measure(memory: str, switch: str, at: int, chunks: int) -> list[list[tuple[float, float]]]:
    """All pairs in one batch: per pair and chunk from `at` on, the scores under the old and the new prompt."""
    torch.set_num_threads(1)
    model = open_toy_world()
    old, new = (torch.cat([embed_prompt(pair[index]) for pair in PAIRS]) for index in (0, 1))
    prompts = NO_CHANGES
    if switch in SWITCHES:
        begin = at * model.family.chunk_frames
        prompts = PromptSchedule(old, [ScheduledPrompt(begin, new)], SWITCHES[switch])
    config = model.stream_config(chunks * model.family.chunk_frames, MemoryConfig(MEMORIES[memory]))
    text = new if switch == ANEW else old
    decoder, scores = StreamingDecoder(model.vae), [[] for _ in PAIRS]
    for event in stream_video(model.backbone, text, config, SeededNoise(0), prompts=prompts):
        if isinstance(event, ChunkDone):
            frames = decoder.decode(event.latents)
            if event.clock.chunk >= at:
                for index, (before, after, _) in enumerate(PAIRS):
                    found = [score_video(frames[index], prompt).total for prompt in (before, after)]
                    scores[index].append(tuple(found))
    return scores


def measure_all(at: int, chunks: int, workers: int) -> dict[str, list]:
    """Every memory under every switch; what is known already is not measured again."""
    setting = f"{at}/{chunks}"
    known = json.loads(FILE.read_text())["scores"].get(setting, {}) if FILE.exists() else {}
    runs = [("dense", UNCHANGED), ("dense", ANEW), *itertools.product(MEMORIES, SWITCHES)]
    missing = [run for run in runs if "/".join(run) not in known]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(measure, *run, at, chunks): "/".join(run) for run in missing}
        for future in as_completed(futures):
            known[futures[future]] = future.result()
            print(futures[future], flush=True)
            _save(setting, known)
    return known


def _save(setting: str, scores: dict[str, list]) -> None:
    """Keep what has been measured, also under other settings."""
    results = json.loads(FILE.read_text()) if FILE.exists() else {"scores": {}}
    results["scores"][setting] = scores
    FILE.write_text(json.dumps(results, indent=1) + "\n")


def mean_scores(scores: Sequence, prompt: int, kind: str | None = None) -> list[tuple[float, float]]:
    """Mean and standard error per chunk, over all pairs or those of one kind."""
    chosen = [pair for pair, (_, _, its) in zip(scores, PAIRS, strict=True) if kind in (None, its)]
    columns = [[chunk[prompt] for chunk in column] for column in zip(*chosen, strict=True)]
    return [(fmean(column), stdev(column) / len(column) ** 0.5) for column in columns]


def shown(scores: Sequence, kind: str | None = None) -> int:
    """Videos whose first chunk under the new prompt scores higher by the new one than by the old."""
    chosen = [pair[0] for pair, (_, _, its) in zip(scores, PAIRS, strict=True) if kind in (None, its)]
    return sum(new > old for old, new in chosen)


_PAGE = """\
# How fast does a new prompt show? The toy world's answer

{pairs} videos a row ({prompts} prompts, each with other colours, other shapes and the opposite directions for both
objects), the same noise in every row. The prompt changes at chunk {at}; of {chunks} chunks, those from there on are
scored by their own 12 frames, under the new prompt. A chunk that is scored alone gives less than a whole video:
compare with the first two rows, the same videos without a change and under the new prompt from the start.

* "shown at once": videos whose chunk {at} agrees better with the new prompt than with the old one; colour, shape
  and direction apart.
* Recache computes the newest 12 latent frames anew, here all there are; flush keeps the first and the last frame;
  interpolation takes 2 chunks. Dummy Forcing measures its heads again after a recache only.
* Before the change all rows of a memory are equal bit by bit (`tests/unit/stream/test_prompts.py`).

Made by `{command}` on {machine}, torch {torch}, {date}.

| memory, switch | {heads} | colour | shape | direction | shown at once |
|---|{rules}|---|---|---|---|
{rows}

Columns "colour", "shape", "direction": score of chunk {at} for these changes alone.

![Score under the new prompt, chunk by chunk](images/toy_prompts.svg)
"""


def report(scores: dict[str, list], at: int, chunks: int, command: str) -> str:
    """The page for docs/."""
    rows = []
    for name, found in scores.items():
        means = [f"{mean:.2f} ± {error:.2f}" for mean, error in mean_scores(found, 1)]
        first = [f"{mean_scores(found, 1, kind)[0][0]:.2f}" for kind in KINDS]
        counts = f"{shown(found)} of {len(PAIRS)}: " + ", ".join(str(shown(found, kind)) for kind in KINDS)
        rows.append("| " + " | ".join([name.replace("/", ", "), *means, *first, counts]) + " |")
    return _PAGE.format(
        pairs=len(PAIRS),
        prompts=len(PROMPTS),
        at=at,
        chunks=chunks,
        heads=" | ".join(f"chunk {chunk}" for chunk in range(at, chunks)),
        rules="|".join(["---"] * (chunks - at)),
        rows="\n".join(rows),
        command=command,
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores",
        torch=torch.__version__,
        date=datetime.date.today().isoformat(),
    )


def plot(scores: dict[str, list], at: int) -> str:
    """SVG: per memory a panel, per switch a line of mean scores under the new prompt."""
    colours = dict(zip((UNCHANGED, ANEW, *SWITCHES), ("#999", "#222", "#1b6", "#06c", "#c40", "#a3a"), strict=True))
    parts, width, height, left = [], 230, 170, 40
    for panel, memory in enumerate(MEMORIES):
        x0 = left + panel * (width + left)
        parts.append(f'<text x="{x0}" y="18" font-weight="bold">{memory}</text>')
        for level in (0, 0.5, 1):
            y = 30 + height * (1 - level)
            parts.append(
                f'<path d="M{x0} {y}h{width}" stroke="#ddd"/><text x="{x0 - 24}" y="{y + 4}">{level}</text>'
            )
        for switch, colour in colours.items():
            found = scores.get(f"{memory}/{switch}") or scores[f"dense/{switch}"]
            means = mean_scores(found, 1)
            step = width / max(1, len(means) - 1)
            points = " ".join(f"{x0 + i * step:.1f},{30 + height * (1 - m):.1f}" for i, (m, _) in enumerate(means))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for index in range(len(means)):
            parts.append(f'<text x="{x0 + index * step - 6:.1f}" y="{height + 48}">{at + index}</text>')
    for index, (switch, colour) in enumerate(colours.items()):
        x = left + index * 135
        parts.append(f'<text x="{x}" y="{height + 75}" fill="{colour}">{switch}</text>')
    total = 3 * (width + left) + left
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height + 90}" '
    return head + 'font-family="sans-serif" font-size="12">' + "".join(parts) + "</svg>\n"


def main() -> None:
    """Measure, then write the results, the page and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=int, default=2, help="chunk at which the prompt changes")
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    scores = measure_all(options.at, options.chunks, options.workers)
    command = f"python benchmarks/toy_prompts.py --at {options.at} --chunks {options.chunks}"
    (ROOT / "docs/toy_prompts.md").write_text(report(scores, options.at, options.chunks, command))
    (ROOT / "docs/images/toy_prompts.svg").write_text(plot(scores, options.at))


if __name__ == "__main__":
    main()
