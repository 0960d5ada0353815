"""Fewer denoising passes, with and without a clean pass that refines: `python benchmarks/toy_refine.py`.

Refinement in the manner of UnStep (docs/references.md, "UnStep's last pass"): the chunk gets a little noise again,
and what the pass that writes the cache predicts is the result. Writes benchmarks/results/toy_refine.json and
docs/toy_refine.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor
from toy_prompts import PROMPTS

from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "benchmarks/results/toy_refine.json"
LEVELS = (0.02, 0.05, 0.1, 0.2)
BASELINE = (4, 0.0, False)
RUNS = (
    *((steps, 0.0, False) for steps in (4, 3, 2, 1)),
    *itertools.product((4, 3, 2, 1), LEVELS, (True,)),
    *((4, level, False) for level in (0.02, 0.1)),
)
"""Denoising passes, context noise, whether the clean pass refines."""


def generate(steps: int, level: float, refine: bool, chunks: int) -> tuple[Tensor, float, StreamConfig]:
    """Frames [B, F, H, W, 3] of all prompts and the CPU seconds in the model."""
    model = open_toy_world()
    config = model.stream_config(
        chunks * model.family.chunk_frames, MemoryConfig(), sigmas=model.family.sigmas_of(steps)
    )
    config = replace(config, context_noise=level, refine=refine)
    text = torch.cat([embed_prompt(prompt) for prompt in PROMPTS])
    decoder, frames, seconds, started = StreamingDecoder(model.vae), [], 0.0, time.process_time()
    for event in stream_video(model.backbone, text, config, SeededNoise(0)):
        seconds += time.process_time() - started
        if isinstance(event, ChunkDone):
            frames.append(decoder.decode(event.latents))
        started = time.process_time()
    return torch.cat(frames, dim=1), seconds, config


@cache
def baseline(chunks: int) -> Tensor:
    """Frames of the baseline, made once a worker."""
    return generate(*BASELINE, chunks)[0]


def measure(steps: int, level: float, refine: bool, chunks: int) -> dict:
    """Scores of all prompts, PSNR to the baseline and cost; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    videos, seconds, config = generate(steps, level, refine, chunks)
    row = {"steps": steps, "level": level, "refine": refine}
    row |= {"passes": config.total_passes / chunks, "seconds": seconds / chunks}
    row["scores"] = [score_video(video, prompt).total for video, prompt in zip(videos, PROMPTS, strict=True)]
    if (steps, level, refine) != BASELINE:
        row["psnr"] = [psnr(video, other) for video, other in zip(videos, baseline(chunks), strict=True)]
    return row


def measure_all(chunks: int, workers: int) -> list[dict]:
    """All rows; those that are known already are not measured again."""
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    rows = known.get("rows", []) if known.get("chunks") == chunks else []
    done = {_run(row) for row in rows}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        missing = [run for run in RUNS if run not in done]
        for future in as_completed([pool.submit(measure, *run, chunks) for run in missing]):
            rows.append(future.result())
            print(rows[-1], flush=True)
            rows.sort(key=lambda row: RUNS.index(_run(row)))
            FILE.write_text(json.dumps({"chunks": chunks, "rows": rows}, indent=1) + "\n")
    return rows


def _run(row: dict) -> tuple[int, float, bool]:
    return row["steps"], row["level"], row["refine"]


_PAGE = """\
# Can the pass that writes the cache do some of the denoising? The toy world's answer

{videos} videos a row of {chunks} chunks, the same noise in every row, dense memory. "n + refine at x": n denoising
passes, then the chunk gets noise of level x again, and what the clean pass predicts from it is the result; without,
the clean pass only writes the cache. Steps as of `--steps n`.

* Score: agreement with the prompt and the world's physics, 0 to 1. Loss: against 4 passes, with its standard error.
* PSNR: to the video of 4 passes, same prompt and seed.
* Seconds: CPU time in the model for a chunk of all {videos} videos at once, on one thread of a machine shared with
  other work; the passes are the better guide.

## What it says

Refining fails on these weights, and not because of what it predicts: context noise alone, which leaves the result
of every chunk as it is, loses as much. The toy world was trained on a past whose keys and values were computed at
timestep 0, and takes keys of any other timestep for something else, at a level of 0.02 as at 0.2. A model has to be
trained with context noise for this. Leaving passes out is the better bargain here: 3 of 4 cost nothing that the
score shows.

Made by `{command}` on {machine}, torch {torch}, {date}.

| denoising | passes a chunk | score | loss | PSNR, dB | CPU s a chunk |
|---|---|---|---|---|---|
{rows}
"""


def report(rows: list[dict], chunks: int, command: str) -> str:
    """The page for docs/."""
    exact = next(row for row in rows if _run(row) == BASELINE)["scores"]
    lines = []
    for row in rows:
        kind = "refine" if row["refine"] else "context noise"
        name = f"{row['steps']}" + (f" + {kind} at {row['level']}" if row["level"] else "")
        losses = [before - after for before, after in zip(exact, row["scores"], strict=True)]
        loss = f"{fmean(losses):.3f} ± {stdev(losses) / len(losses) ** 0.5:.3f}"
        distance = f"{fmean(row['psnr']):.1f}" if "psnr" in row else "-"
        cells = (name, f"{row['passes']:g}", f"{fmean(row['scores']):.3f}", loss, distance, f"{row['seconds']:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return _PAGE.format(
        videos=len(PROMPTS),
        chunks=chunks,
        command=command,
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores",
        torch=torch.__version__,
        date=datetime.date.today().isoformat(),
        rows="\n".join(lines),
    )


def main() -> None:
    """Measure, then write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    rows = measure_all(options.chunks, options.workers)
    command = f"python benchmarks/toy_refine.py --chunks {options.chunks}"
    (ROOT / "docs/toy_refine.md").write_text(report(rows, options.chunks, command))


if __name__ == "__main__":
    main()
