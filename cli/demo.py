"""`dummy-forcing demo`: dense memory against Dummy Forcing on the built-in toy world, same noise."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.errors import DummyForcingError
from ..core.heads.roles import describe_roles
from ..core.media.compose import side_by_side
from ..core.media.quality import psnr
from ..core.media.video_file import VideoWriter
from ..core.memory_config import MemoryConfig
from ..core.methods.base import KeepMethod
from ..core.methods.dense import Dense
from ..core.methods.dummy_forcing import DummyForcing
from ..core.stream.tally import RunReport, format_bytes
from ..core.world.scene import FRAME_RATE
from ..core.world.video_score import VideoScore, score_video
from ..core.world.vocabulary import EXAMPLE, embed_prompt
from .console import open_console, print_table, require, say
from .models import ModelChoice, Opener, check_fits, count_latents
from .outputs import check_outputs, staged_folder
from .profile import write_heat_map
from .report import describe_machine, environment, report_paths, write_report
from .run_video import VideoJob, run_video

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel

POLICIES: dict[str, KeepMethod] = {"dense": Dense(), "dummy_forcing": DummyForcing(dummy_ratio=0.5)}
_TITLES = {"dense": "dense", "dummy_forcing": "dummy forcing"}
_PICTURE, _COMPARISON, _REPORT = "heads.png", "side_by_side.mp4", "report.json"
_FILES = (*(f"{name}.mp4" for name in POLICIES), _COMPARISON, _PICTURE, _REPORT)
_SCALE = 3
_HISTORY = "history a head reads, latent frames"


@dataclass(frozen=True, eq=False)
class _Setup:
    """What both policies have in common. text is the prompt's embedding [1, L, D]."""

    model: ARVideoModel
    prompt: str
    text: Tensor
    latents: int
    seed: int


@dataclass(frozen=True, eq=False)
class _Clip:
    """One policy's video: frames [F, H, W, 3] fp32 on the CPU, what it cost and how well it follows the prompt."""

    frames: Tensor
    report: RunReport
    score: VideoScore


def demo(args: argparse.Namespace, opener: Opener) -> None:
    """Run the command; all its files appear together at the end, or none does."""
    require("rich", "av", "numpy", "PIL")
    console = open_console(args.json)
    setup = _set_up(args, opener)
    facts = environment(args.argv, setup.model.device)
    say(console, f"{setup.prompt!r}, {setup.latents} latent frames, seed {setup.seed}; {describe_machine(facts)}")
    _warm_up(setup)
    with staged_folder(args.output) as stage:
        clips = {name: _make_clip(setup, name, stage, console) for name in POLICIES}
        _write_pictures(clips, stage)
        report = facts | _to_dict(setup, clips)
        write_report(stage / _REPORT, report)
    _print_comparison(console, clips)
    say(console, describe_roles(clips["dummy_forcing"].report.roles))
    say(console, f"wrote {', '.join(_FILES)} to {args.output}")
    if args.json is not None:
        write_report(args.json, report)


def _set_up(args: argparse.Namespace, opener: Opener) -> _Setup:
    prompt = EXAMPLE if args.prompt is None else args.prompt
    text = embed_prompt(prompt)
    check_outputs([*(args.output / name for name in _FILES), *report_paths(args.json)])
    model = opener(ModelChoice(device=args.device, dtype=args.dtype))
    chunk = model.family.chunk_frames
    latents = count_latents(args.latents, None, model.family.latent_frames, chunk)
    least = (POLICIES["dummy_forcing"].classification_chunk + 2) * chunk
    if latents < least:
        raise DummyForcingError(
            f"{latents} latent frames end before Dummy Forcing has begun; use --latents {least} or more"
        )
    for keep in POLICIES.values():
        check_fits(model, model.stream_config(latents, MemoryConfig(keep=keep)))
    return _Setup(model, prompt, text, latents, args.seed)


def _warm_up(setup: _Setup) -> None:
    """One chunk, untimed: the first policy must not pay for what PyTorch does once per process."""
    config = setup.model.stream_config(setup.model.family.chunk_frames, MemoryConfig())
    run_video(setup.model, VideoJob("warm-up", setup.text, config, seed=0), sink=lambda frames: None)


def _make_clip(setup: _Setup, name: str, stage: Path, console: Console) -> _Clip:
    config = setup.model.stream_config(setup.latents, MemoryConfig(keep=POLICIES[name]))
    job = VideoJob(_TITLES[name], setup.text, config, setup.seed)
    chunks: list[Tensor] = []
    with VideoWriter(stage / f"{name}.mp4", FRAME_RATE) as video:

        def sink(frames: Tensor) -> None:
            chunks.append(frames)
            video.write(frames)

        report = run_video(setup.model, job, sink=sink, finish=video.finish, console=console)
    frames = torch.cat(chunks)
    return _Clip(frames, report, score_video(frames, setup.prompt))


def _write_pictures(clips: dict[str, _Clip], stage: Path) -> None:
    pair = side_by_side([clip.frames for clip in clips.values()], [_TITLES[name] for name in clips], scale=_SCALE)
    with VideoWriter(stage / _COMPARISON, FRAME_RATE) as video:
        video.write(pair)
    classified = clips["dummy_forcing"].report
    write_heat_map(stage / _PICTURE, classified.masses, classified.roles)


def _to_dict(setup: _Setup, clips: dict[str, _Clip]) -> dict[str, Any]:
    return {
        "model": {"family": setup.model.family.name, "fingerprint": setup.model.fingerprint},
        "prompt": setup.prompt,
        "seed": setup.seed,
        "frame_rate": FRAME_RATE,
        "policies": {
            name: {
                "memory": MemoryConfig(keep=POLICIES[name]).to_dict(),
                **clip.report.to_dict(),
                "score": clip.score.to_dict(),
                "psnr_to_dense": None if name == "dense" else psnr(clip.frames, clips["dense"].frames),
            }
            for name, clip in clips.items()
        },
    }


def _print_comparison(console: Console, clips: dict[str, _Clip]) -> None:
    """Figures down, policies across, and how the second compares to the first."""
    dense, forcing = clips["dense"], clips["dummy_forcing"]
    rows = [
        _row("wall time", "{:.1f} s".format, dense.report.seconds, forcing.report.seconds),
        _row("DiT FPS", "{:.2f}".format, dense.report.dit_fps, forcing.report.dit_fps),
        _row("end-to-end FPS", "{:.2f}".format, dense.report.end_to_end_fps, forcing.report.end_to_end_fps),
        _row("KV memory", format_bytes, dense.report.kv_bytes, forcing.report.kv_bytes),
        _row("KV memory, peak", format_bytes, dense.report.kv_peak_bytes, forcing.report.kv_peak_bytes),
        _row(_HISTORY, "{:.1f}".format, dense.report.history_frames, forcing.report.history_frames),
        _row("prompt score", "{:.3f}".format, dense.score.total, forcing.score.total),
        ("PSNR to dense", "", f"{psnr(forcing.frames, dense.frames):.1f} dB", ""),
    ]
    print_table(console, ("", _TITLES["dense"], _TITLES["dummy_forcing"], "ratio"), rows)


def _row(title: str, show, dense: float, forcing: float) -> tuple[str, str, str, str]:
    return title, show(dense), show(forcing), f"{forcing / dense:.2f}x" if dense else "-"
