"""What the speed presets cost on the toy world: `OMP_NUM_THREADS=1 python benchmarks/toy_presets.py`.

Videos of the same prompts and noise are made with dense memory, under each preset, and under each preset's methods
one after the other. Writes benchmarks/results/toy_presets.json and docs/presets.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

import torch
from torch import Tensor
from toy_finding import ROOT, SAME, over_videos, video_setting

from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.checkpoints.running import COMMON
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory.config import MemoryConfig
from dummy_forcing.core.presets import PRESETS, fit_preset
from dummy_forcing.core.stream.decode import StreamingDecoder
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.pass_skip import PassSkip
from dummy_forcing.core.world.score import score_video
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.vocabulary import embed_prompt


@dataclass(frozen=True)
class Case:
    """What a row of the table sets."""

    name: str
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    skip: PassSkip | None = None
    fp8: bool = False


def cases(model: ARVideoModel) -> list[Case]:
    """Dense, then every preset method by method, the whole preset last."""
    found = [Case("dense")]
    for name, preset in PRESETS.items():
        fitted = fit_preset(preset, model.family, COMMON)
        kept = MemoryConfig(preset.keep, fitted.memory.rope)
        steps = [Case(f"{name}: Dummy Forcing", kept)]
        if fitted.memory != kept:
            steps.append(replace(steps[-1], name="... and Light Forcing", memory=fitted.memory))
        if fitted.skip is not None:
            steps.append(replace(steps[-1], name="... and a skipped pass", skip=fitted.skip))
        if preset.fp8:
            steps.append(replace(steps[-1], name="... and FP8", fp8=True))
        found += steps
    return found


@dataclass(frozen=True)
class Measured:
    """One video: its score, PSNR to the dense one in dB, and bytes of keys and values at the end."""

    score: float
    psnr: float
    kv_bytes: int


def generate(model: ARVideoModel, prompt: str, seed: int, case: Case, latents: int) -> tuple[Tensor, int]:
    """Frames [F, H, W, 3] of a video, and bytes of keys and values after its last chunk."""
    config = model.stream_config(latents, case.memory, skip=case.skip)
    decoder, frames, kv = StreamingDecoder(model.vae), [], 0
    for event in stream_video(model.backbone, embed_prompt(prompt), config, SeededNoise(seed)):
        if isinstance(event, ChunkDone):
            frames.append(decoder.decode(event.latents)[0])
            kv = event.kv_bytes
    return torch.cat(frames), kv


def measure_video(prompt: str, seed: int, latents: int) -> list[Measured]:
    """One prompt and seed in every case; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    exact, rounded, found, dense = open_toy_world(), open_toy_world(fp8=True), [], None
    for case in cases(exact):
        frames, kv = generate(rounded if case.fp8 else exact, prompt, seed, case, latents)
        dense = frames if dense is None else dense
        found.append(Measured(score_video(frames, prompt).total, min(SAME, psnr(frames, dense)), kv))
    print(f"{prompt}, seed {seed}: done", flush=True)
    return found


def summarise(videos: list[list[Measured]], names: list[str]) -> list[dict]:
    """Rows of the table."""
    rows = []
    for index, name in enumerate(names):
        losses = [video[0].score - video[index].score for video in videos]
        rows.append(
            {
                "name": name,
                "score": fmean(video[index].score for video in videos),
                "loss": fmean(losses),
                "loss_error": stdev(losses) / len(losses) ** 0.5,
                "psnr": fmean(video[index].psnr for video in videos),
                "kv": fmean(video[index].kv_bytes / video[0].kv_bytes for video in videos),
            }
        )
    return rows


_PAGE = """\
# Speed presets

`AR Speed Preset` in ComfyUI and `--speed` on the command line set all methods at once; `core/presets.py` holds the
values. What a family's loop cannot run is left out and said.

| preset | memory | selection | passes | linear layers | decoder |
|---|---|---|---|---|---|
{presets}

Where the values come from: half of the heads as dummies, one skipped pass and a light decoder are what the field
reports for real checkpoints (METHODS.md 3 and 5); that FP8 with a scale a row costs next to nothing is in
[fp8.md](fp8.md). Nothing here has been measured on a real checkpoint, and no speed on a GPU.

## Quality on the toy world

{videos} videos a row ({prompts} prompts, {seeds} a prompt), {latents} latent frames each, the same noise in all.
Score: agreement of the video with its prompt and the world's physics, 0 to 1. Loss: what it loses against dense
memory, with its standard error. PSNR: to the dense video. KV: bytes at the end of the video, of the dense ones.
The toy world has 36 heads, a frame of 36 tokens and no light decoder; its losses are larger than those reported for
models of 360 heads.

Made by `{command}` on {machine}, torch {torch}, {date}.

| methods | score | loss | PSNR, dB | KV |
|---|---|---|---|---|
{rows}

No two presets differ by more than the noise here: on clips this short a longer memory buys nothing that could be
seen, and neither Light Forcing, the skipped pass nor FP8 costs score beyond it. They take other videos (PSNR), as
Dummy Forcing itself does, which is what costs score on this model of 36 heads ([status.md](status.md)).
"""


def report(rows: list[dict], setting: dict) -> str:
    """The page for docs/."""
    table = [
        f"| {row['name']} | {row['score']:.3f} | {row['loss']:.3f} ± {row['loss_error']:.3f} | "
        f"{'-' if row['psnr'] == SAME else format(row['psnr'], '.2f')} | {row['kv']:.0%} |"
        for row in rows
    ]
    presets = []
    for name, preset in PRESETS.items():
        lines = fit_preset(preset, None, COMMON).describe()
        values = (line.partition(": ")[2] for line in lines)
        decoder = preset.decoders[0] if preset.decoders else "the VAE itself"
        presets.append(f"| {name} | {' | '.join(values)} | {'FP8' if preset.fp8 else 'as loaded'} | {decoder} |")
    return _PAGE.format(**setting, rows="\n".join(table), presets="\n".join(presets))


def main() -> None:
    """Measure, then write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="videos per prompt")
    parser.add_argument("--latents", type=int, default=33)
    options = parser.parse_args()
    names = [case.name for case in cases(open_toy_world())]
    rows = summarise(over_videos(measure_video, options.seeds, options.latents), names)
    setting = video_setting("toy_presets.py", options.seeds, options.latents)
    results = {"setting": setting, "rows": rows}
    (ROOT / "benchmarks/results/toy_presets.json").write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / "docs/presets.md").write_text(report(rows, setting))


if __name__ == "__main__":
    main()
