"""`dummy-forcing profile`: what each attention head looks at, over prompts, seeds, chunks and passes."""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..core.checkpoints.families.running import COMMON
from ..core.errors import DummyForcingError
from ..core.files import write_file
from ..core.heads import measure
from ..core.heads.forced import check_forced_roles, parse_forced_roles
from ..core.heads.heat_map import draw_heat_map
from ..core.heads.profile import HeadProfile
from ..core.heads.roles import describe_roles, heads_to_dict
from ..core.memory_config import MemoryConfig
from ..core.methods.dense import Dense
from ..core.stream.config import StreamConfig
from ..core.stream.prompts import check_text
from ..core.stream.tally import RunReport
from .console import open_console, print_roles, require, say
from .models import ModelChoice, Opener, check_fits, count_latents, describe_model, embed, say_family
from .outputs import check_outputs, check_suffix, typed_inputs
from .report import environment, report_paths, write_report
from .run_video import VideoJob, run_video

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel

PROMPTS = (
    "a red circle moving right and a blue square moving up",
    "a green triangle moving left and a yellow circle moving down",
    "a magenta square moving down and a cyan triangle moving right",
    "a yellow triangle moving up",
)
"""What the toy world is profiled on by default."""


@dataclass(frozen=True)
class _Subjects:
    """The videos to measure on: one embedding per prompt."""

    prompts: tuple[str, ...]
    texts: tuple[Tensor, ...]
    seeds: tuple[int, ...]


def profile(args: argparse.Namespace, opener: Opener) -> None:
    """Run the command; DummyForcingError for bad input, before anything is written."""
    require("rich", *(("PIL",) if args.picture else ()))
    console = open_console(args.json)
    choice = ModelChoice.from_args(args)
    forced = parse_forced_roles(args.force_roles)
    subjects = _read_subjects(args)
    _check_outputs(args)
    model = opener(choice)
    say_family(console, args, model)
    for text in subjects.texts:
        check_text(text, model.backbone.shape.text_dim)
    check_forced_roles(forced, model.backbone.shape.layers, model.backbone.shape.heads)
    config = _plan(args, model)
    check_fits(model, config, decodes=False)
    samples, reports = _measure(model, config, subjects, console)
    found = measure.make_profile(
        samples, _measured_on(model, config, subjects), args.dummy_ratio, args.cost, forced
    )
    ratios = measure.core_set_ratios(found)
    _write(args, found, console)
    print_roles(console, found.roles)
    say(console, measure.describe_ratios(ratios))
    if args.json is not None:
        report = _to_dict(args, model, found, ratios, reports)
        write_report(args.json, environment(args.argv, model.device) | report)


def _read_subjects(args: argparse.Namespace) -> _Subjects:
    files = args.embedding or []
    if files and args.prompt and len(files) != len(args.prompt):
        raise DummyForcingError(
            f"{len(args.prompt)} prompts label {len(files)} embeddings; give one --prompt per --embedding, or none"
        )
    prompts = tuple(args.prompt or [file.stem for file in files] or PROMPTS)
    texts = tuple(embed(prompt, file) for prompt, file in zip(prompts, files or [None] * len(prompts), strict=True))
    return _Subjects(prompts, texts, tuple(range(args.seeds)))


def _check_outputs(args: argparse.Namespace) -> None:
    check_suffix(args.output, (".safetensors",), "a head profile")
    check_suffix(args.picture, (".png",), "a picture")
    inputs = typed_inputs(args, "embedding", "model", "vae", "lora")
    check_outputs([args.output, args.picture, *report_paths(args.json)], inputs)


def _plan(args: argparse.Namespace, model: ARVideoModel) -> StreamConfig:
    family = model.family
    latents = count_latents(args.latents, None, family.latent_frames, family.chunk_frames)
    least = 2 * family.chunk_frames
    if latents < least:
        raise DummyForcingError(
            f"{latents} latent frames are one chunk, which has no history to score; use --latents {least} or more"
        )
    memory, sigmas = MemoryConfig(keep=Dense()), family.sigmas_of(args.steps)
    return model.stream_config(latents, memory, pixel_size=args.size, sigmas=sigmas, loop=COMMON)


def _measure(
    model: ARVideoModel, config: StreamConfig, subjects: _Subjects, console: Console
) -> tuple[list[Tensor], list[RunReport]]:
    """Masses [chunks - 1, passes, layers, heads, 3] of each video and what it cost."""
    recorder = measure.profile_recorder(len(model.backbone.blocks))
    samples, reports = [], []
    for index, text in enumerate(subjects.texts):
        for seed in subjects.seeds:
            title = f"prompt {index + 1}/{len(subjects.texts)}, seed {seed}"
            recorder.clear()
            job = VideoJob(title, text, config, seed, (recorder,))
            reports.append(run_video(model, job, console=console))
            samples.append(measure.recorded_samples(recorder))
    return samples, reports


def _measured_on(model: ARVideoModel, config: StreamConfig, subjects: _Subjects) -> measure.MeasuredOn:
    return measure.MeasuredOn(
        fingerprint=model.fingerprint,
        shape=model.backbone.shape.to_dict(),
        prompts=subjects.prompts,
        seeds=subjects.seeds,
        latent_size=config.latent_size,
        latent_frames=config.total_frames,
        chunk_frames=config.chunk_frames,
        text_tokens=subjects.texts[0].shape[1],
        sigmas=config.sigmas,
    )


def _write(args: argparse.Namespace, found: HeadProfile, console: Console) -> None:
    found.save(args.output)
    say(console, f"wrote {args.output}: {describe_roles(found.roles)}")
    if args.picture is not None:
        write_heat_map(args.picture, found.masses, found.roles)
        say(console, f"wrote {args.picture}")


def write_heat_map(path: Path, masses: Tensor, roles: Tensor) -> None:
    """Draw head roles to a .png file, which is written as a whole or not at all."""
    png = io.BytesIO()
    draw_heat_map(masses, roles).save(png, format="PNG")
    write_file(path, png.getvalue())


def _to_dict(
    args: argparse.Namespace,
    model: ARVideoModel,
    found: HeadProfile,
    ratios: dict[str, float | None],
    reports: list[RunReport],
) -> dict[str, Any]:
    return {
        "model": describe_model(args, model),
        "prompts": found.prompts,
        "seeds": found.seeds,
        "latent_size": found.latent_size,
        "method": found.method,
        "heads": heads_to_dict(found.roles),
        "core_set_ratios": ratios,
        "output": str(args.output),
        "videos": [report.to_dict() for report in reports],
    }
