"""Runs one video: the stream's events in, frames, progress and a report out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..core.heads.roles import count_roles
from ..core.memory.memory import AttentionObserver
from ..core.stream.decode import StreamingDecoder
from ..core.stream.events import ChunkDone, Event, HeadsClassified, PassDone
from ..core.stream.loop import StreamConfig, stream_video
from ..core.stream.noise import SeededNoise
from ..core.wan.vae_stream import FRAMES_PER_LATENT
from .progress import Standing, progress_line

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel

Sink = Callable[[Tensor], object]
"""Takes the next frames [T, H, W, 3] of a video, fp32 in [0, 1] on the CPU."""


@dataclass(frozen=True)
class VideoJob:
    """One video to make.

    title names it in the progress line; text is the text-encoder output [1, L, D] on any device; observers look at
    attention. config.total_frames must be finite.
    """

    title: str
    text: Tensor
    config: StreamConfig
    seed: int
    observers: Sequence[AttentionObserver] = ()

    @property
    def chunks(self) -> int:
        return self.config.total_frames // self.config.chunk_frames


@dataclass(frozen=True, eq=False)
class RunReport:
    """What one video cost.

    Attributes:
        latent_frames, pixel_frames, chunks: how much was made.
        model_seconds: sum over chunks of the time in the model, clean pass and commit included.
        seconds: wall time from the start until the file was closed.
        kv_bytes: bytes of keys and values after the last chunk.
        kv_peak_bytes: the most there were after any chunk.
        history_frames: latent frames of history that a head holds after the last chunk, mean over layers and heads.
        roles: int64 [layers, heads] if heads were given roles, and the fp32 masses [layers, heads, 3] behind them
            if these were measured.
    """

    latent_frames: int
    pixel_frames: int
    chunks: int
    model_seconds: float
    seconds: float
    kv_bytes: int
    kv_peak_bytes: int
    history_frames: float
    roles: Tensor | None = None
    masses: Tensor | None = None

    @property
    def dit_fps(self) -> float:
        """Pixel frames per second of time in the model."""
        return self.pixel_frames / self.model_seconds

    @property
    def end_to_end_fps(self) -> float:
        """Pixel frames per second of wall time: noise, model, decoder and file."""
        return self.pixel_frames / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form, with both FPS and, if there are roles, their counts and table."""
        names = ("latent_frames", "pixel_frames", "chunks", "seconds", "model_seconds")
        names = (*names, "dit_fps", "end_to_end_fps", "kv_bytes", "kv_peak_bytes", "history_frames")
        return {name: getattr(self, name) for name in names} | {"heads": heads_to_dict(self.roles)}


def heads_to_dict(roles: Tensor | None) -> dict[str, Any] | None:
    """Counts by role and the table [layers][heads] of role numbers; None stays None."""
    return None if roles is None else {"counts": count_roles(roles), "roles": roles.tolist()}


def pixel_frames(latent_frames: int) -> int:
    """Pixel frames that the Wan VAE makes of so many latent frames."""
    return max(0, 1 + FRAMES_PER_LATENT * (latent_frames - 1))


def run_video(
    model: ARVideoModel,
    job: VideoJob,
    *,
    sink: Sink | None = None,
    finish: Callable[[], object] | None = None,
    console: Console | None = None,
) -> RunReport:
    """Generate a video chunk by chunk, hand its frames to `sink` and report.

    Args:
        model: the model; needs a VAE only if there is a sink.
        job: what to make.
        sink: called once per chunk; None leaves the decoder out altogether.
        finish: called after the last chunk and included in the wall time, such as `VideoWriter.finish`.
        console: where progress goes; None is silent.

    The stream and the decoder are closed however this ends; closing the sink after a failure is the caller's.
    """
    started = time.perf_counter()
    tally = _Tally(job)
    text = job.text.to(model.device, model.dtype)
    with contextlib.ExitStack() as stack:
        show = stack.enter_context(progress_line(console, job.title, job.chunks, len(job.config.sigmas)))
        stream = stream_video(model.backbone, text, job.config, SeededNoise(job.seed), job.observers)
        stack.enter_context(contextlib.closing(stream))
        decoder = stack.enter_context(contextlib.closing(StreamingDecoder(model.vae))) if sink else None
        for event in stream:
            tally.add(event)
            show(tally.standing)
            if decoder is not None and isinstance(event, ChunkDone):
                sink(decoder.decode(event.latents)[0])
        if finish is not None:
            finish()
    return tally.report(time.perf_counter() - started)


@dataclass
class _Tally:
    """Adds up the events of one video."""

    job: VideoJob
    passes: int = 0
    chunks: int = 0
    model_seconds: float = 0.0
    kv_bytes: int = 0
    kv_peak_bytes: int = 0
    history_frames: float = 0.0
    classified: HeadsClassified | None = None

    def add(self, event: Event) -> None:
        if isinstance(event, PassDone):
            self.passes += 1
        elif isinstance(event, HeadsClassified):
            self.classified = event
        else:
            self.chunks += 1
            self.model_seconds += event.seconds
            self.kv_bytes = event.kv_bytes
            self.kv_peak_bytes = max(self.kv_peak_bytes, event.kv_bytes)
            self.history_frames = event.history_frames

    @property
    def latent_frames(self) -> int:
        return self.chunks * self.job.config.chunk_frames

    @property
    def standing(self) -> Standing:
        started = self.chunks > 0
        return Standing(
            chunks=self.job.chunks,
            chunks_done=self.chunks,
            passes_done=self.passes,
            dit_fps=pixel_frames(self.latent_frames) / self.model_seconds if started else None,
            kv_bytes=self.kv_bytes if started else None,
        )

    def report(self, seconds: float) -> RunReport:
        return RunReport(
            latent_frames=self.latent_frames,
            pixel_frames=pixel_frames(self.latent_frames),
            chunks=self.chunks,
            model_seconds=self.model_seconds,
            seconds=seconds,
            kv_bytes=self.kv_bytes,
            kv_peak_bytes=self.kv_peak_bytes,
            history_frames=self.history_frames,
            roles=self.classified.roles if self.classified else None,
            masses=self.classified.masses if self.classified else None,
        )
