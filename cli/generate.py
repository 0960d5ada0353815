"""`dummy-forcing generate`: one video, written to the file as it is made."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..core.broken import keeping_finished
from ..core.checkpoints.families.running import family_loop, family_switch
from ..core.heads.profile import HeadProfile
from ..core.media.formats import FORMATS
from ..core.media.video_file import VideoWriter
from ..core.methods.base import KeepMethod, SelectMethod
from ..core.methods.pass_skip import PassSkip
from ..core.presets import SpeedPreset, fit_preset
from ..core.stream.config import StreamConfig
from ..core.stream.prompts import NO_CHANGES, PromptSource, check_text
from ..core.stream.sigmas import levels_from_strength
from ..core.stream.tally import RunReport, describe_heads, describe_run
from ..core.world.scene import FRAME_RATE
from ..core.world.vocabulary import EXAMPLE
from .console import open_console, require, say
from .given import Given, given_latents_of, read_given
from .models import (
    ModelChoice,
    Opener,
    check_decodable,
    check_encodable,
    check_fits,
    count_latents,
    describe_model,
    embed,
    say_family,
)
from .outputs import check_outputs, check_suffix, typed_inputs
from .policies import check_classified, memory_for, method_of, read_merge, read_policy, read_skip
from .report import environment, report_paths, write_report
from .run_video import VideoJob, run_video
from .selection import read_cross, read_select, say_selection
from .speed import read_speed, say_speed
from .story import Story, read_story

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel

_INPUTS = (
    *("image", "extend", "source", "prompts", "embedding", "profile"),
    *("model", "vae", "lora", "decoder"),
)  # options that name a file to read


@dataclass(frozen=True)
class _Request:
    """What was asked for, checked as far as possible without the model; a preset replaces keep, select and skip."""

    preset: SpeedPreset | None
    choice: ModelChoice
    prompt: str
    text: Tensor
    keep: KeepMethod | None
    select: SelectMethod
    skip: PassSkip | None
    story: Story | None
    given: Given | None


def generate(args: argparse.Namespace, opener: Opener) -> None:
    """Run the command; DummyForcingError for bad input, before anything is written."""
    require("rich", "av", "numpy")
    console = open_console(args.json)
    request = _read_request(args)
    _check_outputs(args)
    model = opener(request.choice)
    config = _plan(args, request, model, console)
    check_fits(model, config)
    usual, story = family_switch(model.family), request.story
    prompts = story.plan.schedule(request.text, config, usual) if story else NO_CHANGES
    say_family(console, args, model)
    say_selection(console, config, model)
    for lost in request.given.lost(config) if request.given else ():
        say(console, lost)
    report = _write_video(args, request, model, config, prompts, console)
    say(console, f"wrote {args.output}: {describe_run(report)}")
    if heads := describe_heads(report):
        say(console, heads)
    if args.save_profile is not None:
        _save_profile(args, request, model, config, report)
        say(console, f"wrote {args.save_profile}")
    if args.json is not None:
        write_report(args.json, _to_dict(args, request, model, config, prompts, report))


def _read_request(args: argparse.Namespace) -> _Request:
    preset, choice = read_speed(args), ModelChoice.from_args(args)
    prompt = args.prompt
    if prompt is None:
        prompt = EXAMPLE if args.embedding is None else args.embedding.stem
    keep, select, skip = read_policy(args), read_select(args), read_skip(args)
    text = embed(prompt, args.embedding)
    return _Request(preset, choice, prompt, text, keep, select, skip, read_story(args), read_given(args))


def _check_outputs(args: argparse.Namespace) -> None:
    check_suffix(args.output, tuple(FORMATS), "video")
    check_suffix(args.save_profile, (".safetensors",), "a head profile")
    inputs = typed_inputs(args, *_INPUTS)
    check_outputs([args.output, args.save_profile, *report_paths(args.json)], inputs)


def _plan(args: argparse.Namespace, request: _Request, model: ARVideoModel, console: Console) -> StreamConfig:
    """The stream's configuration, with everything checked that needs the model."""
    check_decodable(model)
    check_encodable(model, request.given is not None)
    shape = model.backbone.shape
    check_text(request.text, shape.text_dim)
    if args.profile is not None:
        HeadProfile.load(args.profile, model.fingerprint, (shape.layers, shape.heads))
    family = model.family
    given, length = request.given, (args.latents, args.seconds, family.latent_frames, family.chunk_frames)
    latents = given.count_latents(*length) if given else count_latents(*length)
    sigmas = family.sigmas_of(args.steps)
    if given is not None and given.strength is not None:
        sigmas = levels_from_strength(sigmas, given.strength)
    merge, cross, skip = read_merge(args), read_cross(args), request.skip
    if request.preset is None:
        memory = replace(memory_for(request.keep, args.rope, family, merge), select=request.select, cross=cross)
    else:
        fitted = fit_preset(request.preset, family, family_loop(family), len(sigmas) - 1)
        memory, skip = replace(fitted.memory, merge=merge, cross=cross), fitted.skip
        say_speed(console, args, request.preset, fitted)
    opening = given.opening_frames if given else 0
    if args.save_profile is not None:
        check_classified(request.keep, latents, family.chunk_frames, opening)
    return model.stream_config(
        latents,
        memory,
        pixel_size=args.size,
        sigmas=sigmas,
        opening_frames=opening,
        skip=skip,
        context_noise=args.context_noise,
        refine=args.refine,
    )


def _write_video(
    args: argparse.Namespace,
    request: _Request,
    model: ARVideoModel,
    config: StreamConfig,
    prompts: PromptSource,
    console: Console,
) -> RunReport:
    given = given_latents_of(request.given, model, config)
    job = VideoJob(args.output.name, request.text, config, args.seed, (), given, prompts, args.compile)
    with VideoWriter(args.output, FRAME_RATE) as video, keeping_finished(video):
        try:
            return run_video(model, job, sink=video.write, finish=video.finish, console=console)
        except KeyboardInterrupt:
            if not video.frames_written:
                raise
            video.finish()
            note = f"kept the {video.frames_written} frames finished so far in {args.output}"
            raise KeyboardInterrupt(note) from None


def _save_profile(
    args: argparse.Namespace, request: _Request, model: ARVideoModel, config: StreamConfig, report: RunReport
) -> None:
    HeadProfile(
        fingerprint=model.fingerprint,
        shape=model.backbone.shape.to_dict(),
        prompts=(request.prompt,),
        seeds=(args.seed,),
        latent_size=config.latent_size,
        method=method_of(request.keep, config.chunk_frames, request.text.shape[1]),
        masses=report.masses,
        roles=report.roles,
    ).save(args.save_profile)


def _to_dict(
    args: argparse.Namespace,
    request: _Request,
    model: ARVideoModel,
    config: StreamConfig,
    prompts: PromptSource,
    report: RunReport,
) -> dict[str, Any]:
    return {
        **environment(args.argv, model.device),
        "model": describe_model(args, model),
        "prompt": request.prompt,
        "later_prompts": request.story and request.story.to_dict(prompts.switch),
        "given": request.given and request.given.to_dict(),
        "seed": args.seed,
        "latent_size": config.latent_size,
        "sigmas": config.sigmas,
        "frame_rate": FRAME_RATE,
        "memory": config.memory.to_dict(),
        "skip": config.skip and config.skip.to_dict(),
        "compile": args.compile,
        "speed": args.speed,
        "context_noise": config.context_noise,
        "refine": config.refine,
        "output": str(args.output),
        **report.to_dict(),
    }
