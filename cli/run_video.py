"""Runs one video: the stream's events in, frames, progress and a report out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from ..core.decoders.decode_ahead import DecodeAhead
from ..core.memory.memory import AttentionObserver
from ..core.stream.config import StreamConfig
from ..core.stream.encode import encode_clip, image_anchor
from ..core.stream.events import ChunkDone
from ..core.stream.given_latents import NOTHING_GIVEN, GivenLatents
from ..core.stream.loop import stream_video
from ..core.stream.noise import SeededNoise
from ..core.stream.prompts import NO_CHANGES, PromptSource
from ..core.stream.tally import RunReport, Tally
from ..core.wan.compiled import compiled_parts
from ..core.wan.forward import STANDALONE, Runtime
from .progress import progress_line

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel

Sink = Callable[[Tensor], object]
"""Takes the next frames [T, H, W, 3] of a video, fp32 in [0, 1] on the CPU."""


@dataclass(frozen=True)
class VideoJob:
    """One video to make.

    title names it in the progress line; text is the text-encoder output [1, L, D] on any device; observers look at
    attention. config.total_frames must be finite. given and prompts as in `stream_chunks`. compile runs the
    blocks through `torch.compile`.
    """

    title: str
    text: Tensor
    config: StreamConfig
    seed: int
    observers: Sequence[AttentionObserver] = ()
    given: GivenLatents = NOTHING_GIVEN
    prompts: PromptSource = NO_CHANGES
    compile: bool = False


def run_video(
    model: ARVideoModel,
    job: VideoJob,
    *,
    sink: Sink | None = None,
    finish: Callable[[], object] | None = None,
    console: Console | None = None,
) -> RunReport:
    """Generate a video chunk by chunk, hand its frames to `sink` and report.

    On a GPU a chunk is decoded and handed on while the next is generated (docs/decoders.md).

    Args:
        model: the model; needs a VAE or a light decoder only if there is a sink.
        job: what to make.
        sink: called once per chunk, maybe in another thread; None leaves the decoder out altogether.
        finish: called after the last chunk and included in the wall time, such as `VideoWriter.finish`.
        console: where progress goes; None is silent.

    However this ends, the stream and the decoder are closed, and the sink has received the frames of all finished
    chunks; closing the sink after a failure is up to the caller.
    """
    started = time.perf_counter()
    tally = Tally(job.config)
    text = job.text.to(model.device, model.dtype)
    with contextlib.ExitStack() as stack:
        config = job.config
        show = stack.enter_context(progress_line(console, job.title, config.total_chunks, len(config.sigmas)))
        anchor = ahead = None
        if sink is not None:
            ahead = stack.enter_context(contextlib.closing(DecodeAhead(model.begin_decoding())))
            anchor = image_anchor(partial(encode_clip, model.vae), config, ahead.wait)
        stream = stream_video(
            model.backbone,
            text,
            config,
            SeededNoise(job.seed),
            job.observers,
            Runtime(parts=compiled_parts()) if job.compile else STANDALONE,
            given=job.given,
            prompts=job.prompts,
            anchor=anchor,
        )
        stack.enter_context(contextlib.closing(stream))

        def take(frames: Tensor) -> None:
            if anchor is not None:
                anchor.add(frames)
            sink(frames[0])

        for event in stream:
            tally.add(event)
            show(tally.standing)
            if ahead is not None and isinstance(event, ChunkDone):
                ahead.add(event.latents, take)
        if ahead is not None:
            ahead.wait()
        if finish is not None:
            finish()
    return tally.report(time.perf_counter() - started)
