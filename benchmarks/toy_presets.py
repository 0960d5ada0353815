"""What the speed presets cost on the toy world: `OMP_NUM_THREADS=1 python benchmarks/toy_presets.py`.

Videos of the same prompts and noise are made with dense memory, under each preset, and under each preset's methods
one after the other. Writes benchmarks/results/toy_presets.json and docs/presets.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

import torch
import toy_finding
from torch import Tensor

from dummy_forcing.core.checkpoints.families.running import COMMON
from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.pass_skip import PassSkip
from dummy_forcing.core.presets import PRESETS, fit_preset
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
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
        found.append(Measured(score_video(frames, prompt).total, toy_finding.capped_psnr(frames, dense), kv))
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
values. Settings that a family's loop cannot run are left out, and the report says so.

| preset | memory | selection | passes | linear layers | decoder |
|---|---|---|---|---|---|
{presets}

Where the values come from: [half of the heads as dummies](references.md#dummy-forcings-heads), [one skipped
pass](references.md#teacache-on-few-steps) and a [light decoder](references.md#light-decoders) are published results
on real checkpoints; [fp8.md](fp8.md) shows that FP8 with one scale per row costs almost nothing. Nothing here has
been measured on a real checkpoint, and no speed on a GPU.

## Quality on the toy world

{videos} videos a row ({prompts} prompts, {seeds} a prompt), {latents} latent frames each, the same noise in all.
Score: agreement of the video with its prompt and the world's physics, 0 to 1. Loss: the score lost against dense
memory, with its standard error. PSNR: to the dense video. KV: bytes at the end of the video, as a share of the
dense ones. The toy world has 36 heads, a frame of 36 tokens and no light decoder; its losses are larger than those
reported for models of 360 heads.

Made by `{command}` on {machine}, torch {torch}, {date}.

| methods | score | loss | PSNR, dB | KV |
|---|---|---|---|---|
{rows}

No two presets differ by more than the noise here: on clips this short a longer memory has no visible benefit, and
neither Light Forcing, the skipped pass nor FP8 lowers the score by more than the noise. They make different videos
(PSNR), as Dummy Forcing itself does, which is what costs score on this model of 36 heads ([status.md](status.md)).
"""


def report(rows: list[dict], setting: dict) -> str:
    """The page for docs/."""
    table = [f"| {row['name']} | {toy_finding.score_cells(row, 2)} | {row['kv']:.0%} |" for row in rows]
    presets = []
    for name, preset in PRESETS.items():
        lines = fit_preset(preset, None, COMMON).describe()
        values = (line.partition(": ")[2] for line in lines)
        decoder = preset.decoders[0] if preset.decoders else "the VAE itself"
        presets.append(f"| {name} | {' | '.join(values)} | {'FP8' if preset.fp8 else 'as loaded'} | {decoder} |")
    return _PAGE.format(**setting, rows="\n".join(table), presets="\n".join(presets))


def main() -> None:
    """Measure, then write the results and the page."""
    options = toy_finding.read_options(__doc__, 33)
    names = [case.name for case in cases(open_toy_world())]
    rows = summarise(toy_finding.over_videos(measure_video, options.seeds, options.latents), names)
    setting = toy_finding.video_setting("toy_presets.py", options.seeds, options.latents)
    results = {"setting": setting, "rows": rows}
    toy_finding.write_finding("toy_presets", "presets", results, report(rows, setting))


if __name__ == "__main__":
    main()
