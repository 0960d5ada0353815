"""Dummy Forcing's finding, checked on the toy world: `python benchmarks/toy_finding.py`.

Which heads can lose their history? Videos of the same prompts and noise are made with every head dense, with the
history cut for the heads that dynamic head programming names dummy, and for as many random heads; with and without
a packed frame; and with the full method. Writes benchmarks/results/toy_finding.json and docs/toy_finding.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.heads.recorder import MassRecorder
from dummy_forcing.core.heads.stability import stability
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory.config import MemoryConfig
from dummy_forcing.core.memory.dense import Dense
from dummy_forcing.core.memory.dummy_forcing import DummyForcing
from dummy_forcing.core.memory.window import Window
from dummy_forcing.core.stream.decode import StreamingDecoder
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.score import score_video
from dummy_forcing.core.world.toy import open_toy_world
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
SAME = 99.0  # dB, stands for identical videos, whose PSNR is infinite


@dataclass(frozen=True)
class Case:
    """A memory to try; `random_draws` > 0 replaces the programmed dummy heads by that many random sets."""

    name: str
    keep: object
    random_draws: int = 0


def cases() -> list[Case]:
    """All rows of the table."""

    def cut(ratio: float, packed: int) -> DummyForcing:
        return DummyForcing(dummy_ratio=ratio, local_context=None, packed_frames=packed)

    listed = [Case("dense", Dense())]
    for ratio in (0.25, 0.5):
        share = f"{ratio:.0%}"
        listed.append(Case(f"cut history of {share} dummy heads", cut(ratio, 0)))
        listed.append(Case(f"cut history of {share} random heads", cut(ratio, 0), random_draws=RANDOM_DRAWS))
        listed.append(Case(f"one packed frame for {share} dummy heads", cut(ratio, 1)))
        listed.append(Case(f"one packed frame for {share} random heads", cut(ratio, 1), random_draws=RANDOM_DRAWS))
    listed += [Case(f"Dummy Forcing {r:.0%}", DummyForcing(dummy_ratio=r)) for r in (0.25, 0.5, 0.75)]
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
    """One prompt and seed under every case: per case a list of (score, PSNR to dense) and the KV bytes held."""

    results: dict[str, list[tuple[float, float]]]
    kv_bytes: dict[str, int]
    samples: Tensor


def measure_video(prompt: str, seed: int, latents: int) -> Measured:
    """Make one prompt and seed with every memory; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    model = open_toy_world()
    shape = model.backbone.shape
    recorder = MassRecorder(shape.layers, row_fraction=1.0, seed=0, wants=lambda clock: clock.chunk > 0)
    dense, _ = generate(model, prompt, seed, Dense(), latents, [recorder])
    results, kv_bytes = {}, {}
    for case in cases():
        rows = results.setdefault(case.name, [])
        for keep in variants(case, shape.layers, shape.heads, f"{prompt}/{seed}"):
            video, kv_bytes[case.name] = generate(model, prompt, seed, keep, latents)
            rows.append((score_video(video, prompt).total, min(SAME, psnr(video, dense))))
    print(f"{prompt}, seed {seed}: dense score {results['dense'][0][0]:.3f}", flush=True)
    return Measured(results, kv_bytes, _stack(recorder))


def measure(seeds: int, latents: int) -> tuple[list[dict], dict]:
    """Rows of the table, and what the dense runs tell of the heads."""
    pairs = itertools.product(PROMPTS, range(seeds))
    runs = [(prompt, index, latents) for index, (prompt, _) in enumerate(pairs)]  # every video has its own seed
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as workers:
        measured = list(workers.map(measure_video, *zip(*runs, strict=True)))
    rows = []
    for case in cases():
        found = [pair for each in measured for pair in each.results[case.name]]
        scores, distances = zip(*found, strict=True)
        rows.append(
            {
                "case": case.name,
                "score": fmean(scores),
                "psnr_to_dense": fmean(distances),
                "kv_bytes": round(fmean(each.kv_bytes[case.name] for each in measured)),
            }
        )
    return rows, _heads(torch.stack([each.samples for each in measured]))


def _stack(recorder: MassRecorder) -> Tensor:
    """[chunks, passes, layers, heads, 3] of one video."""
    chunks = sorted({chunk for chunk, _ in recorder.recorded})
    passes = sorted({index for _, index in recorder.recorded})
    return torch.stack([torch.stack([recorder.masses(c, p)[0] for p in passes]) for c in chunks])


def _heads(samples: Tensor) -> dict:
    """Shares and stability of heads over all dense runs; the clean pass is the last."""
    current = samples[:, :, -1, ..., 2].mean(dim=(0, 1))
    return {
        "heads": current.numel(),
        "share_with_over_80_percent_on_current": float((current > 0.8).double().mean()),
        "core_set_ratio": {f"{r:.0%}": stability(samples, r) for r in (0.25, 0.5)},
        "mean_mass_first_history_current": samples[:, :, -1].mean(dim=(0, 1, 2, 3)).tolist(),
    }


_PAGE = """\
# Which heads can lose their history? The toy world's answer

{videos} videos a row ({prompts} prompts, {seeds} a prompt), {latents} latent frames each, the same noise in every
row; rows with random heads average {draws} draws a video. Dummy heads are chosen online, by the normalised cost.

* Score: agreement of the video with its prompt and with the world's physics, 0 to 1.
* PSNR: to the dense video of the same prompt and seed, mean over videos.
* KV: bytes at the end of the video, relative to dense.
* In the "cut" and "packed" rows all other heads keep their whole history, so that only the named heads matter.

Made by `{command}` on {machine}, torch {torch}, {date}.

| memory | score | PSNR to dense, dB | KV |
|---|---|---|---|
{rows}

Heads that put over 80 % of their attention on the current chunk: {share:.1%} of {heads}. Core-set ratio of the
dummy heads, the part of the set that all settings share:

| dummy ratio | over prompts and seeds | over chunks | over timesteps |
|---|---|---|---|
{stability}
"""


def report(rows: list[dict], heads: dict, setting: dict) -> str:
    """The page for docs/."""
    whole = rows[0]["kv_bytes"]
    table = [
        f"| {row['case']} | {row['score']:.3f} | "
        f"{'-' if row['psnr_to_dense'] == SAME else format(row['psnr_to_dense'], '.2f')} | "
        f"{row['kv_bytes'] / whole:.1%} |"
        for row in rows
    ]
    stable = [
        f"| {ratio} | {values['prompts']:.2f} | {values['chunks']:.2f} | {values['timesteps']:.2f} |"
        for ratio, values in heads["core_set_ratio"].items()
    ]
    return _PAGE.format(
        **setting,
        prompts=len(PROMPTS),
        draws=RANDOM_DRAWS,
        rows="\n".join(table),
        share=heads["share_with_over_80_percent_on_current"],
        heads=heads["heads"],
        stability="\n".join(stable),
    )


def main() -> None:
    """Measure, then write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="videos per prompt")
    parser.add_argument("--latents", type=int, default=21)
    options = parser.parse_args()
    rows, heads = measure(options.seeds, options.latents)
    setting = {
        "command": f"python benchmarks/toy_finding.py --seeds {options.seeds} --latents {options.latents}",
        "seeds": options.seeds,
        "latents": options.latents,
        "videos": len(PROMPTS) * options.seeds,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    results = {"setting": setting, "rows": rows, "heads": heads}
    (ROOT / "benchmarks/results/toy_finding.json").write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / "docs/toy_finding.md").write_text(report(rows, heads, setting))


if __name__ == "__main__":
    main()
