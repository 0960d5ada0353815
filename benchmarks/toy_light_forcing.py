"""Light Forcing on the toy world: `OMP_NUM_THREADS=1 python benchmarks/toy_light_forcing.py`.

Videos of the same prompts and noise are made at rising sparsity, under the dense memory, a window and Dummy Forcing
with a long local context, whose neighbor heads alone select. What has been measured is kept in
benchmarks/results/toy_light_forcing.json, so that a run can be broken off and taken up; docs/toy_light_forcing.md
is written from it.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from statistics import fmean, stdev

import torch
from PIL import Image
from torch import Tensor
from toy_finding import PROMPTS as ALL_PROMPTS
from toy_finding import ROOT, SAME

from dummy_forcing.core.bench.costs import key_frames
from dummy_forcing.core.checkpoints.families.table import family
from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.media.chart import Line, Panel, draw_panels
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.world.toy import FAMILY, open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

PROMPTS = ALL_PROMPTS[::2]
RESULTS = ROOT / "benchmarks/results/toy_light_forcing.json"
MEMORIES = {
    "dense": Dense(),
    "window 12, sink 3": Window(3, 12),
    "Dummy Forcing 50%, 4 chunks": DummyForcing(local_context=4),
}
SPARSITIES = (0.3, 0.5, 0.7, 0.8, 0.9)
FEWER = (0.5, 0.7, 0.9)  # under memories that already read little
LATENTS, CHUNK, TOKENS = 21, 3, 36
BLOCK = 12  # of the 36 tokens that a frame has: three blocks a frame, where a large model has 13 to 136
EVERY_PASS = LightForcing(block_q=BLOCK, block_k=BLOCK, dense_first_pass=False, dense_clean_pass=False)
MILD = replace(EVERY_PASS, dense_first_pass=True, dense_clean_pass=True)
WAYS = {"every pass": EVERY_PASS, "dense first and clean pass": MILD}
OPTIONS = {
    "dense first pass": replace(EVERY_PASS, dense_first_pass=True),
    "dense clean pass": replace(EVERY_PASS, dense_clean_pass=True),
    "current chunk always read": replace(EVERY_PASS, keep_current=True),
    "all three": replace(MILD, keep_current=True),
}
OPTIONS_AT = {"dense first pass": 0.6, "dense clean pass": 0.6, "current chunk always read": 0.8, "all three": 0.8}


@dataclass(frozen=True)
class Case:
    """A row: a memory, how it selects and how sparse; sparsity 0 is the memory alone."""

    memory: str
    way: str
    sparsity: float

    @property
    def name(self) -> str:
        return f"{self.memory} | {self.way} | {self.sparsity:g}"

    @property
    def config(self) -> MemoryConfig:
        if not self.sparsity:
            return MemoryConfig(MEMORIES[self.memory])
        select = replace({**WAYS, **OPTIONS}[self.way], sparsity=self.sparsity)
        return MemoryConfig(MEMORIES[self.memory], select=select)


def cases() -> list[Case]:
    """All rows, the most telling first."""
    whole = [Case(memory, "-", 0.0) for memory in MEMORIES]
    swept = [Case("dense", way, sparsity) for sparsity, way in itertools.product(SPARSITIES, WAYS)]
    options = [Case("dense", way, sparsity) for way, sparsity in OPTIONS_AT.items()]
    others = [
        Case(memory, "dense first and clean pass", sparsity)
        for sparsity, memory in itertools.product(FEWER, list(MEMORIES)[1:])
    ]
    return [*whole, *swept, *options, *others]


def generate(model: ARVideoModel, config: MemoryConfig) -> list[Tensor]:
    """A video [F, H, W, 3] for every prompt, each with a seed of its own."""
    latents = []
    for prompt in PROMPTS:
        stream = model.stream_config(LATENTS, config)
        events = stream_video(model.backbone, embed_prompt(prompt), stream, SeededNoise(ALL_PROMPTS.index(prompt)))
        latents.append(torch.cat([event.latents for event in events if isinstance(event, ChunkDone)], 2))
    decoder = StreamingDecoder(model.vae)  # all at once, which costs little more than one video
    chunks = torch.cat(latents).split(model.family.chunk_frames, 2)
    return list(torch.cat([decoder.decode(chunk) for chunk in chunks], 1))


def measure(case: Case) -> dict[str, list[float]]:
    """Scores of all videos of a case, and PSNR to those of the dense memory; runs in a worker process."""
    torch.set_num_threads(1)
    model = open_toy_world()
    videos = generate(model, case.config)
    found = {"score": [score_video(video, prompt).total for video, prompt in zip(videos, PROMPTS, strict=True)]}
    dense = ROOT / "out/toy_light_forcing_dense.pt"
    if case.name == cases()[0].name:
        torch.save(videos, dense)
    pairs = zip(videos, torch.load(dense), strict=True)
    return found | {"psnr": [min(SAME, psnr(video, whole)) for video, whole in pairs]}


def measure_all(workers: int) -> dict[str, dict[str, list[float]]]:
    """What is known, and all that is not; written after every case."""
    known = json.loads(RESULTS.read_text())["cases"] if RESULTS.is_file() else {}
    missing = [case for case in cases() if case.name not in known]

    def keep(case: Case, found: dict[str, list[float]]) -> None:
        known[case.name] = found
        RESULTS.write_text(json.dumps({"cases": known}, indent=1) + "\n")
        print(f"{case.name}: score {fmean(found['score']):.3f}, {fmean(found['psnr']):.2f} dB", flush=True)

    if missing and missing[0] == cases()[0]:
        first = missing.pop(0)
        keep(first, measure(first))  # the others are compared with it
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        runs = {pool.submit(measure, case): case for case in missing}
        for run in as_completed(runs):
            keep(runs[run], run.result())
    return known


def summarise(known: dict[str, dict[str, list[float]]]) -> list[dict]:
    """Rows of the table; losses are against the same memory that reads everything."""
    rows, video = [], _video()
    for case in sorted(cases(), key=lambda case: list(MEMORIES).index(case.memory)):
        if case.name not in known:
            continue
        found, whole = known[case.name], known[Case(case.memory, "-", 0.0).name]
        losses = [before - after for before, after in zip(whole["score"], found["score"], strict=True)]
        rows.append(
            {
                **asdict(case),
                "score": fmean(found["score"]),
                "loss": fmean(losses),
                "loss_error": stdev(losses) / len(losses) ** 0.5,
                "psnr": fmean(found["psnr"]),
                "keys": keys_read(case.config, video) / keys_read(MemoryConfig(), video),
            }
        )
    return rows


def keys_read(config: MemoryConfig, video: VideoShape) -> float:
    """Key frames of a pass, mean over all; where roles are yet to be measured, the most that they can read."""
    config = replace(config, keep=config.keep.upper_bound(video))
    chunks, passes = LATENTS // CHUNK, len(family(FAMILY).sigmas)
    clocks = (
        ChunkClock(chunk, chunk * CHUNK, CHUNK, TOKENS, index, 0.0, index == passes - 1)
        for chunk, index in itertools.product(range(chunks), range(passes))
    )
    return fmean(key_frames(config, video, clock) for clock in clocks)


def _video() -> VideoShape:
    return VideoShape(6, 6, CHUNK, LATENTS, grid=(1, TOKENS))


_PAGE = """\
# Light Forcing on the toy world

{videos} videos a row ({videos} prompts), {latents} latent frames each, the same noise in every row. A frame has 36
tokens here, so blocks are of {block}, three a frame; those of the default size would be whole frames. What the
method is, and what follows from this: [light_forcing.md](light_forcing.md).

* Sparsity: asked for, mean over chunks but the first. Keys: what all passes read, the first chunk included, as a
  share of dense memory; under Dummy Forcing, whose roles differ from video to video, the most that can be.
* Loss: what the score loses against the same memory that reads everything, with its standard error.
* PSNR: to the dense video of the same prompt and seed.
* "Every pass" is the authors' way, "dense first and clean pass" the preset `training-free`; "current chunk always
  read" counts sparsity over the history only, "all three" is both.

Made by `{command}` on {machine}, torch {torch}, {date}.

| memory | sparse passes | sparsity | keys | score | loss | PSNR, dB |
|---|---|---|---|---|---|---|
{rows}

![Score and PSNR over sparsity](images/toy_light_forcing.png)

In the picture "every" is every pass, "mild" the preset.
"""


def report(rows: list[dict], setting: dict) -> str:
    """The page for docs/."""

    def loss(row: dict) -> str:
        return f"{row['loss']:.3f} ± {row['loss_error']:.3f}" if row["sparsity"] else "-"

    table = [
        f"| {row['memory']} | {row['way']} | {row['sparsity']:g} | {row['keys']:.0%} | {row['score']:.3f} | "
        f"{loss(row)} | {'-' if row['psnr'] == SAME else format(row['psnr'], '.2f')} |"
        for row in rows
    ]
    return _PAGE.format(**setting, rows="\n".join(table))


def draw(rows: list[dict]) -> Image.Image:
    """Score and PSNR over sparsity."""
    sweeps = [("dense", way) for way in WAYS] + [(memory, list(WAYS)[1]) for memory in list(MEMORIES)[1:]]
    panels = []
    for value, title, limits in (("score", "score", (0.6, 1.0)), ("psnr", "PSNR to dense, dB", (16.0, 40.0))):
        lines = []
        for memory, way in sweeps:
            found = [row for row in rows if row["memory"] == memory and (row["way"] == way or not row["sparsity"])]
            points = tuple((row["sparsity"], row[value]) for row in found if row["psnr"] < SAME or value == "score")
            if points:
                short = memory.split(",")[0].removesuffix(" 50%")
                lines.append(Line(f"{short}, {'every' if WAYS[way] is EVERY_PASS else 'mild'}", points))
        panels.append(Panel(title, tuple(lines), limits))
    return draw_panels(panels, "sparsity", (0.0, 1.0))


def main() -> None:
    """Measure what is missing, then write the page and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    known = measure_all(options.workers)
    rows = summarise(known)
    setting = {
        "command": "python benchmarks/toy_light_forcing.py",
        "videos": len(PROMPTS),
        "latents": LATENTS,
        "block": BLOCK,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, one thread a video",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    RESULTS.write_text(json.dumps({"setting": setting, "rows": rows, "cases": known}, indent=1) + "\n")
    (ROOT / "docs/toy_light_forcing.md").write_text(report(rows, setting))
    draw(rows).save(ROOT / "docs/images/toy_light_forcing.png")


if __name__ == "__main__":
    main()
