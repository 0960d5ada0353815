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

from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompts import NO_CHANGES, PromptSchedule, PromptSwitch, ScheduledPrompt
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
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


def measure_all(at: int, chunks: int, memories: Sequence[str], workers: int) -> None:
    """Every memory under every switch; what is known already is not measured again."""
    setting = f"{at}/{chunks}"
    runs = [("dense", UNCHANGED), ("dense", ANEW), *itertools.product(memories, SWITCHES)]
    known = load().get(setting, {})
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        missing = [run for run in runs if "/".join(run) not in known]
        futures = {pool.submit(measure, *run, at, chunks): "/".join(run) for run in missing}
        for future in as_completed(futures):
            results = load()
            results.setdefault(setting, {})[futures[future]] = future.result()
            FILE.write_text(json.dumps({"scores": results}, indent=1) + "\n")
            print(setting, futures[future], flush=True)


def load() -> dict[str, dict[str, list]]:
    """What has been measured: by setting, then by memory and switch."""
    return json.loads(FILE.read_text())["scores"] if FILE.exists() else {}


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
objects), the same noise in every row. From the chunk of the change on, every chunk is scored by its own 12 frames
under the new prompt, mean and standard error. A chunk alone gives less than a whole video, all the more when its
objects are leaving the picture: compare with the first two rows of a table.

* "shown at once": videos whose first chunk under the new prompt agrees better with it than with the old one; then
  for colour, shape and direction apart, {prompts} each.
* Recache computes the newest 12 latent frames anew, flush keeps the first and the last frame, interpolation takes
  2 chunks. Dummy Forcing measures its heads again after a recache only.
* Before the change all rows of a memory are equal bit by bit (`tests/unit/stream/test_prompts.py`).

## What it says

* Another colour or shape shows within the chunk of the change by cross-attention, recache and flush. One chunk
  later the score is no worse than that of a video under the new prompt from the start.
* Flush shows it a little better in the first chunk, where the past pulls least at the new prompt, at the price of
  forgetting: {flush} above cross-attention.
* Recache is no better than cross-attention, {recache}: past frames show the
  old objects under either prompt's keys. So cross-attention, which costs nothing, stays the toy world's default.
* Interpolation shows nothing in its first chunk, by intent: half of a prompt is still the old one here.
* Another direction shows under no method, and should not: in this world the prompt names the direction an object
  starts with, it turns round off stage, and how it moves later follows from its past. At chunk 6 the objects have
  turned, which is why a prompt of the opposite direction then agrees with a video that never heard of it.

Made by `{command}` on {machine}, torch {torch}, {date}.
{tables}
![Score under the new prompt, chunk by chunk](images/toy_prompts.svg)
"""

_TABLE = """
## Change at chunk {at}

| memory, switch | {heads} | colour | shape | direction | shown at once |
|---|{rules}|---|---|---|---|
{rows}

Columns "colour", "shape", "direction": score of chunk {at} for these changes alone.
"""


def report(results: dict[str, dict[str, list]]) -> str:
    """The page for docs/."""
    return _PAGE.format(
        pairs=len(PAIRS),
        prompts=len(PROMPTS),
        flush=gains(results, "flush"),
        recache=gains(results, "recache"),
        tables="".join(table(scores, *map(int, setting.split("/"))) for setting, scores in results.items()),
        command="python benchmarks/toy_prompts.py --at K --chunks N",
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores",
        torch=torch.__version__,
        date=datetime.date.today().isoformat(),
    )


def gains(results: dict[str, dict[str, list]], switch: str) -> str:
    """What a switch scores above cross-attention in its first chunk: dense, other colours and shapes."""
    found = []
    for setting, scores in results.items():
        pairs = zip(scores["dense/cross-attention"], scores[f"dense/{switch}"], PAIRS, strict=True)
        each = [after[0][1] - before[0][1] for before, after, (_, _, kind) in pairs if kind != "direction"]
        found.append(f"{fmean(each):+.2f} ± {stdev(each) / len(each) ** 0.5:.2f} at chunk {setting.split('/')[0]}")
    return ", ".join(found)


def table(scores: dict[str, list], at: int, chunks: int) -> str:
    """One setting's part of the page."""
    rows = []
    for name in sorted(scores, key=_order):
        found = scores[name]
        means = [f"{mean:.2f} ± {error:.2f}" for mean, error in mean_scores(found, 1)]
        first = [f"{mean_scores(found, 1, kind)[0][0]:.2f}" for kind in KINDS]
        counts = f"{shown(found)} of {len(PAIRS)}: " + ", ".join(str(shown(found, kind)) for kind in KINDS)
        rows.append("| " + " | ".join([name.replace("/", ", "), *means, *first, counts]) + " |")
    return _TABLE.format(
        at=at,
        heads=" | ".join(f"chunk {chunk}" for chunk in range(at, chunks)),
        rules="|".join(["---"] * (chunks - at)),
        rows="\n".join(rows),
    )


def _order(name: str) -> tuple[int, int]:
    memory, switch = name.split("/")
    return list(MEMORIES).index(memory), (UNCHANGED, ANEW, *SWITCHES).index(switch)


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
    x = left
    for switch, colour in colours.items():
        parts.append(f'<text x="{x}" y="{height + 75}" fill="{colour}">{switch}</text>')
        x += 20 + 6 * len(switch)
    total = 3 * (width + left) + left
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height + 90}" '
    return head + 'font-family="sans-serif" font-size="12">' + "".join(parts) + "</svg>\n"


def main() -> None:
    """Measure, then write the results, the page and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=int, default=2, help="chunk at which the prompt changes")
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--memory", choices=MEMORIES, action="append", help="only this one; repeatable")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    measure_all(options.at, options.chunks, options.memory or list(MEMORIES), options.workers)
    results = load()
    (ROOT / "docs/toy_prompts.md").write_text(report(results))
    first = next(iter(results))
    (ROOT / "docs/images/toy_prompts.svg").write_text(plot(results[first], int(first.split("/")[0])))


if __name__ == "__main__":
    main()
