"""Dummy Forcing's finding, checked on the toy world: `python benchmarks/toy_finding.py`.

Which heads can lose their history? Videos of the same prompts and noise are made with every head dense, with the
history cut for the heads that dynamic head programming names dummy (by either cost rule), and for as many random
heads; with and without a packed frame; and with the full method. Writes benchmarks/results/toy_finding.json and
docs/toy_finding.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.heads.measure import recorded_samples
from dummy_forcing.core.heads.recorder import MassRecorder
from dummy_forcing.core.heads.stability import stability
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = (
    "a red circle moving right and a blue square moving up",
    "a yellow triangle moving left and a cyan circle moving down",
    "a green square moving up and a magenta triangle moving right",
    "a blue circle moving down and a yellow square moving left",
    "a magenta circle moving left and a green triangle moving left",
    "a cyan square moving right and a red triangle moving down",
    "a yellow circle moving up",
    "a red square moving left",
)


RANDOM_DRAWS = 2
PAIR_SEEDS = 3
CUT = "no history"
PARTS = ("rows", "pairs", "heads")
COSTS = ("normalised", "paper")
SAME = 99.0  # dB, stands for identical videos, whose PSNR is infinite


@dataclass(frozen=True)
class Case:
    """A memory to try; `random_draws` > 0 replaces the programmed dummy heads by that many random sets."""

    name: str
    keep: object
    random_draws: int = 0


def cases() -> list[Case]:
    """All rows of the table."""

    listed = [Case("dense", Dense())]
    for ratio, (packed, name) in itertools.product((0.25, 0.5), ((0, CUT), (1, "one packed frame"))):
        for cost in COSTS:
            keep = DummyForcing(ratio, local_context=None, packed_frames=packed, cost=cost)
            listed.append(Case(f"{name} for {ratio:.0%} dummy heads, {cost} cost", keep))
        listed.append(Case(f"{name} for {ratio:.0%} random heads", keep, random_draws=RANDOM_DRAWS))
    listed += [Case(f"Dummy Forcing {r:.0%}", DummyForcing(dummy_ratio=r)) for r in (0.25, 0.5, 0.75)]
    listed.append(Case("Dummy Forcing 50%, paper cost", DummyForcing(cost="paper")))
    listed.append(Case("Dummy Forcing 50%, 2 chunks of local context", DummyForcing(local_context=2)))
    listed.append(Case("window of 6 frames, no sink", Window(sink=0, size=6)))
    listed.append(Case("window of 7 frames, sink 1", Window(sink=1, size=7)))
    return listed


def generate(model: ARVideoModel, prompt: str, seed: int, keep, latents: int, observers=()) -> tuple[Tensor, int]:
    """A video [F, H, W, 3] and the bytes of KV it held at the end."""
    config = model.stream_config(latents, MemoryConfig(keep))
    text = embed_prompt(prompt).to(model.device, model.dtype)
    decoder = StreamingDecoder(model.vae)
    frames, kv_bytes = [], 0
    for event in stream_video(model.backbone, text, config, SeededNoise(seed), observers):
        if isinstance(event, ChunkDone):
            frames.append(decoder.decode(event.latents)[0])
            kv_bytes = event.kv_bytes
    return torch.cat(frames), kv_bytes


def variants(case: Case, layers: int, heads: int, key: str) -> Iterator[object]:
    """The case's memory, or its random draws: the same number of dummy heads, and no other role than neighbor."""
    if not case.random_draws:
        yield case.keep
    for draw in range(case.random_draws):
        cells = [(layer, head) for layer in range(layers) for head in range(heads)]
        chosen = set(random.Random(f"{key}/{draw}").sample(cells, round(case.keep.dummy_ratio * len(cells))))
        roles = tuple(tuple(2 if (lay, head) in chosen else 1 for head in range(heads)) for lay in range(layers))
        yield DummyForcing(**{**vars(case.keep), "roles": roles})


@dataclass(frozen=True)
class Measured:
    """One prompt and seed under every case: per case the mean (score, PSNR to dense) and the KV bytes held."""

    results: dict[str, tuple[float, float]]
    kv_bytes: dict[str, int]


def measure_cuts(prompt: str, seed: int, latents: int) -> Measured:
    """Like `measure_video`, of the dense memory and the rows without history only."""
    return measure_video(prompt, seed, latents, [case for case in cases() if case.name.startswith(CUT)])


def measure_video(prompt: str, seed: int, latents: int, chosen: Sequence[Case] | None = None) -> Measured:
    """Make one prompt and seed with every memory; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    model = open_toy_world()
    shape = model.backbone.shape
    dense, _ = generate(model, prompt, seed, Dense(), latents)
    results, kv_bytes = {}, {}
    for case in cases() if chosen is None else chosen:
        tried = []
        for keep in variants(case, shape.layers, shape.heads, f"{prompt}/{seed}"):
            video, kv_bytes[case.name] = generate(model, prompt, seed, keep, latents)
            tried.append((score_video(video, prompt).total, capped_psnr(video, dense)))
        results[case.name] = tuple(map(fmean, zip(*tried, strict=True)))
    print(f"{prompt}, seed {seed}: dense score {score_video(dense, prompt).total:.3f}", flush=True)
    return Measured(results, kv_bytes)


def measure_heads(prompt: str, seed: int, latents: int) -> Tensor:
    """Masses of one dense video as `stability` takes them; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    model = open_toy_world()
    recorder = MassRecorder(
        model.backbone.shape.layers, row_fraction=1.0, seed=0, wants=lambda clock: clock.chunk > 0
    )
    generate(model, prompt, seed, Dense(), latents, [recorder])
    return recorded_samples(recorder)


def over_videos(work: Callable, seeds: int, latents: int) -> list:
    """Run `work` for all prompts and seeds, in as many processes as there are cores."""
    pairs = itertools.product(PROMPTS, range(seeds))
    runs = [(prompt, index, latents) for index, (prompt, _) in enumerate(pairs)]  # every video has its own seed
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as workers:
        return list(workers.map(work, *zip(*runs, strict=True)))


def video_setting(script: str, seeds: int, latents: int) -> dict[str, Any]:
    """What `over_videos` has run, and where; names for a page's template."""
    return {
        "command": f"python benchmarks/{script} --seeds {seeds} --latents {latents}",
        "prompts": len(PROMPTS),
        "seeds": seeds,
        "latents": latents,
        "videos": len(PROMPTS) * seeds,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, one thread a video",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def read_options(about: str, latents: int = 21) -> argparse.Namespace:
    """How many videos of which length a benchmark makes, as typed."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seeds", type=int, default=2, help="videos per prompt")
    parser.add_argument("--latents", type=int, default=latents)
    return parser.parse_args()


def write_finding(name: str, page: str, results: Any, text: str) -> None:
    """Write the results of `benchmarks/{name}.py` and their page in docs/."""
    (ROOT / f"benchmarks/results/{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / f"docs/{page}.md").write_text(text)


def score_rows(
    videos: Sequence[dict],
    cases: Iterable,
    label: Callable[[Any], dict],
    more: Callable[[list], dict] = lambda _: {},
) -> list[dict]:
    """Rows of a table: a case's label, means over its videos, which have a score, a loss and a psnr, and `more`."""
    rows = []
    for case in cases:
        measured = [video[case] for video in videos]
        losses = [each.loss for each in measured]
        scores = {
            "score": fmean(each.score for each in measured),
            "loss": fmean(losses),
            "loss_error": stdev(losses) / len(losses) ** 0.5,
            "psnr": fmean(each.psnr for each in measured),
        }
        rows.append(label(case) | scores | more(measured))
    return rows


def capped_psnr(frames: Tensor, others: Tensor) -> float:
    """PSNR in dB of two videos; SAME for equal ones."""
    return min(SAME, psnr(frames, others))


def read_stream_options(parser: argparse.ArgumentParser, name: str) -> tuple[argparse.Namespace, Path]:
    """What was typed for a long video, and the folder of its unfinished work, by its `--latents`."""
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--report", action="store_true", help="write what there is so far")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / name)
    options = parser.parse_args()
    work = options.work / str(options.latents)
    work.mkdir(parents=True, exist_ok=True)
    return options, work


def score_cells(row: dict[str, Any], digits: int) -> str:
    """Score, loss and PSNR of a row in a table."""
    distance = "-" if row["psnr"] == SAME else f"{row['psnr']:.{digits}f}"
    return f"{row['score']:.3f} | {row['loss']:.3f} ± {row['loss_error']:.3f} | {distance}"


def summarise_videos(measured: list[Measured]) -> list[dict]:
    """Rows of the table."""
    rows = []
    dense = [each.results["dense"][0] for each in measured]
    for case in cases():
        scores, distances = zip(*(each.results[case.name] for each in measured), strict=True)
        losses = [before - after for before, after in zip(dense, scores, strict=True)]
        rows.append(
            {
                "case": case.name,
                "score": fmean(scores),
                "loss": fmean(losses),
                "loss_error": stdev(losses) / len(losses) ** 0.5,
                "psnr_to_dense": fmean(distances),
                "kv_bytes": round(fmean(each.kv_bytes[case.name] for each in measured)),
            }
        )
    return rows


def summarise_pairs(measured: list[Measured]) -> list[dict]:
    """Dummy heads against random heads of the same video: mean differences and their standard errors."""
    pairs = []
    for ratio, cost in itertools.product((0.25, 0.5), COSTS):
        dummy, chance = f"{CUT} for {ratio:.0%} dummy heads, {cost} cost", f"{CUT} for {ratio:.0%} random heads"
        found = [(each.results[dummy], each.results[chance]) for each in measured]
        row = {"pair": f"{ratio:.0%}, {cost} cost"}
        for index, name in enumerate(("score", "psnr")):
            gains = [ours[index] - theirs[index] for ours, theirs in found]
            row |= {name: fmean(gains), f"{name}_error": stdev(gains) / len(gains) ** 0.5}
            row[f"{name}_wins"] = sum(gain > 0 for gain in gains)
        pairs.append(row)
    return pairs


def summarise_heads(samples: Tensor) -> dict:
    """Shares and stability of heads over all dense videos; the clean pass is the last."""
    current = samples[:, :, -1, ..., 2].mean(dim=(0, 1))
    return {
        "heads": current.numel(),
        "share_with_over_80_percent_on_current": float((current > 0.8).double().mean()),
        "share_in_chunk_1": float((samples[:, 0, -1, ..., 2].mean(dim=0) > 0.8).double().mean()),
        "core_set_ratio": {
            f"{ratio:.0%}, {cost} cost": stability(samples, ratio, cost)
            for ratio, cost in itertools.product((0.25, 0.5), COSTS)
        },
        "mean_mass_first_history_current": samples[:, :, -1].mean(dim=(0, 1, 2, 3)).tolist(),
    }


_PAGE = """\
# Which heads can lose their history? The toy world's answer

{videos} videos a row ({prompts} prompts, {seeds} a prompt), {latents} latent frames each, the same noise in every
row; rows with random heads average {draws} draws a video. Dummy heads are chosen online, in chunk 1.

* Score: agreement of the video with its prompt and with the world's physics, 0 to 1.
* Loss: what the score loses against the dense video of the same prompt and seed, with its standard error.
* PSNR: to the dense video of the same prompt and seed, mean over videos.
* KV: bytes at the end of the video, relative to dense.
* In the "no history" and "packed frame" rows all other heads keep their whole history, so that only the named heads
  matter. Unless named, the cost is the normalised one, the default.

Made by `{command}` on {machine}, torch {torch}, {date}.

| memory | score | loss | PSNR to dense, dB | KV |
|---|---|---|---|---|
{rows}

Without history, dummy heads against as many random heads of the same video,
{pair_videos} videos ({pair_seeds} a prompt):

| dummy heads | score gained | PSNR gained, dB | videos with a better score, PSNR |
|---|---|---|---|
{pairs}

Heads that put over 80 % of their attention on their own chunk: {share:.1%} of {heads} on average over chunks,
{first:.1%} in chunk 1. Core-set ratio of the dummy heads, the part of the set that all settings share; by chance
sets of a quarter of the heads would share nothing, sets of half 0.00 over {videos} videos, 0.03 over 6 chunks and
0.06 over 5 passes:

| dummy heads | over prompts and seeds | over chunks | over timesteps |
|---|---|---|---|
{stability}
"""


def report(rows: list[dict], pairs: list[dict], heads: dict, setting: dict) -> str:
    """The page for docs/."""
    whole = rows[0]["kv_bytes"]
    table = [
        f"| {row['case']} | {row['score']:.3f} | {row['loss']:.3f} ± {row['loss_error']:.3f} | "
        f"{'-' if row['psnr_to_dense'] == SAME else format(row['psnr_to_dense'], '.2f')} | "
        f"{row['kv_bytes'] / whole:.1%} |"
        for row in rows
    ]
    stable = [
        f"| {ratio} | {values['prompts']:.2f} | {values['chunks']:.2f} | {values['timesteps']:.2f} |"
        for ratio, values in heads["core_set_ratio"].items()
    ]
    paired = [
        f"| {row['pair']} | {row['score']:+.3f} ± {row['score_error']:.3f} | "
        f"{row['psnr']:+.2f} ± {row['psnr_error']:.2f} | {row['score_wins']}, {row['psnr_wins']} |"
        for row in pairs
    ]
    return _PAGE.format(
        **setting,
        prompts=len(PROMPTS),
        draws=RANDOM_DRAWS,
        rows="\n".join(table),
        pairs="\n".join(paired),
        pair_seeds=PAIR_SEEDS,
        pair_videos=PAIR_SEEDS * len(PROMPTS),
        share=heads["share_with_over_80_percent_on_current"],
        first=heads["share_in_chunk_1"],
        heads=heads["heads"],
        stability="\n".join(stable),
    )


def main() -> None:
    """Measure, then write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="videos per prompt")
    parser.add_argument("--latents", type=int, default=21)
    parser.add_argument("--only", choices=PARTS, help="measure this part, keep the others' results")
    options = parser.parse_args()
    file = ROOT / "benchmarks/results/toy_finding.json"
    known = json.loads(file.read_text()) if options.only else {}
    parts = {name: found for name, found in known.items() if name in PARTS and name != options.only}
    if "rows" not in parts:
        parts["rows"] = summarise_videos(over_videos(measure_video, options.seeds, options.latents))
    if "pairs" not in parts:
        parts["pairs"] = summarise_pairs(over_videos(measure_cuts, PAIR_SEEDS, options.latents))
    if "heads" not in parts:
        parts["heads"] = summarise_heads(torch.stack(over_videos(measure_heads, options.seeds, options.latents)))
    setting = {
        "command": f"python benchmarks/toy_finding.py --seeds {options.seeds} --latents {options.latents}",
        "seeds": options.seeds,
        "latents": options.latents,
        "videos": len(PROMPTS) * options.seeds,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    results = {"setting": setting, **{name: parts[name] for name in PARTS}}
    file.write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / "docs/toy_finding.md").write_text(report(setting=setting, **parts))


if __name__ == "__main__":
    main()
