"""What skipped passes cost on the toy world: `OMP_NUM_THREADS=1 python benchmarks/toy_pass_skip.py`.

Videos of the same prompts and noise are made with every pass computed and with fixed skip lists, under the dense
memory and under Dummy Forcing. Writes benchmarks/results/toy_pass_skip.json and docs/toy_pass_skip.md.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from statistics import median

import torch
import toy_finding
from torch import Tensor

from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.pass_skip import PassSkip
from dummy_forcing.core.stream.events import ChunkDone, PassDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

MEMORIES = {"dense": Dense(), "Dummy Forcing 50%": DummyForcing()}
LISTS = ((), (1,), (2,), (3,), (1, 2), (1, 3))
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Made:
    """One video [F, H, W, 3], the CPU seconds of its chunk loop and its skipped passes (chunk, index)."""

    frames: Tensor
    seconds: float
    skipped: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Measured:
    """One video next to the one with all passes computed; PSNR in dB, time as a share of that one's."""

    score: float
    loss: float
    psnr: float
    time: float


Case = tuple[str, tuple[int, ...]]  # memory, skip list


def generate(model: ARVideoModel, prompt: str, seed: int, keep, skip: PassSkip | None, latents: int) -> Made:
    """Make a video; the clock stands still while it is decoded."""
    config = replace(model.stream_config(latents, MemoryConfig(keep)), skip=skip)
    decoder, frames, skipped, seconds = StreamingDecoder(model.vae), [], [], 0.0
    started = time.process_time()
    for event in stream_video(model.backbone, embed_prompt(prompt), config, SeededNoise(seed)):
        seconds += time.process_time() - started
        if isinstance(event, ChunkDone):
            frames.append(decoder.decode(event.latents)[0])
        elif isinstance(event, PassDone) and event.skipped:
            skipped.append((event.clock.chunk, event.clock.pass_index))
        started = time.process_time()
    return Made(torch.cat(frames), seconds, tuple(skipped))


def measure_video(prompt: str, seed: int, latents: int) -> dict[Case, Measured]:
    """One prompt and seed in every case; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    model, found = open_toy_world(), {}
    generate(model, prompt, seed, Dense(), None, model.family.chunk_frames)  # warm up
    for name, keep in MEMORIES.items():
        whole = generate(model, prompt, seed, keep, None, latents)
        best = score_video(whole.frames, prompt).total
        for passes in LISTS:
            made = generate(model, prompt, seed, keep, PassSkip(passes), latents) if passes else whole
            score = score_video(made.frames, prompt).total
            distance = toy_finding.capped_psnr(made.frames, whole.frames)
            found[name, passes] = Measured(score, best - score, distance, made.seconds / whole.seconds)
    print(f"{prompt}, seed {seed}: done", flush=True)
    return found


def summarise(videos: list[dict[Case, Measured]]) -> list[dict]:
    """Rows of the table."""
    return toy_finding.score_rows(
        videos,
        itertools.product(MEMORIES, LISTS),
        lambda case: {"memory": case[0], "skipped": list(case[1])},
        lambda measured: {"time": median(each.time for each in measured)},
    )


def chosen_by_threshold(model: ARVideoModel) -> dict[str, list[int]]:
    """The passes of a chunk that TeaCache's rule skips on the family's schedule; they are the same in all."""
    chosen = {}
    for threshold in THRESHOLDS:
        made = generate(
            model, toy_finding.PROMPTS[0], 0, Dense(), PassSkip(threshold=threshold), model.family.chunk_frames
        )
        chosen[str(threshold)] = [index for _, index in made.skipped]
    return chosen


_PAGE = """\
# What skipped passes cost on the toy world

{videos} videos a row ({prompts} prompts, {seeds} a prompt), {latents} latent frames each, the same noise in every
row. A chunk takes {passes} denoising passes and a clean one; pass 0 is its first. A skipped pass adds the residual
of the last computed one in place of the blocks (`core/methods/pass_skip/__init__.py`).

* Score: agreement of the video with its prompt and with the world's physics, 0 to 1.
* Loss: what the score loses against the video of the same prompt, seed and memory with all passes computed, with
  its standard error.
* PSNR: to that video, mean over videos.
* Blocks: share of passes in which they run, the clean pass included; the time to expect of a large model.
* Time: CPU time of the chunk loop relative to that video, decoder left out, median over videos.

Made by `{command}` on {machine}, torch {torch}, {date}.

| memory | skipped passes | score | loss | PSNR, dB | blocks | time |
|---|---|---|---|---|---|---|
{rows}

TeaCache's rule on this schedule (noise levels {sigmas}) comes down to fixed lists:

| threshold | skipped passes |
|---|---|
{thresholds}
"""


def report(rows: list[dict], thresholds: dict[str, list[int]], setting: dict) -> str:
    """The page for docs/."""
    whole = setting["passes"] + 1
    table = [
        f"| {row['memory']} | {_listed(row['skipped'])} | {toy_finding.score_cells(row, 2)} | "
        f"{1 - len(row['skipped']) / whole:.0%} | {row['time']:.0%} |"
        for row in rows
    ]
    return _PAGE.format(
        **{**setting, "sigmas": ", ".join(f"{sigma:.4g}" for sigma in setting["sigmas"])},
        rows="\n".join(table),
        thresholds="\n".join(f"| {value} | {_listed(passes)} |" for value, passes in thresholds.items()),
    )


def _listed(passes: list[int]) -> str:
    return ", ".join(map(str, passes)) or "none"


def main() -> None:
    """Measure, then write the results and the page."""
    options = toy_finding.read_options(__doc__)
    model = open_toy_world()
    thresholds = chosen_by_threshold(model)
    rows = summarise(toy_finding.over_videos(measure_video, options.seeds, options.latents))
    setting = {
        **toy_finding.video_setting("toy_pass_skip.py", options.seeds, options.latents),
        "passes": len(model.family.sigmas) - 1,
        "sigmas": model.family.sigmas,
    }
    results = {"setting": setting, "rows": rows, "thresholds": thresholds}
    toy_finding.write_finding("toy_pass_skip", "toy_pass_skip", results, report(rows, thresholds, setting))


if __name__ == "__main__":
    main()
