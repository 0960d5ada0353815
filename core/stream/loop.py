"""The chunk loop: denoise a chunk in a few passes, make a clean pass, commit, go on.

The common loop of Self-Forcing, Causal Forcing, LongLive and their kin (MODELS.md, B0), as a generator that holds
one chunk and yields events. Closing the generator, an exception or exhaustion all free the memory.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..memory.clock import ChunkClock
from ..memory.memory import AttentionObserver
from ..wan.forward import STANDALONE, Home
from .config import StreamConfig
from .denoiser import BackboneDenoiser, Denoiser
from .events import ChunkDone, Event, HeadsClassified, PassDone
from .material import NOTHING, Material
from .noise import NoiseSource


def stream_video(
    backbone: nn.Module,
    text: Tensor,
    config: StreamConfig,
    noise: NoiseSource,
    observers: Sequence[AttentionObserver] = (),
    home: Home = STANDALONE,
    material: Material = NOTHING,
) -> Iterator[Event]:
    """Generate a video chunk by chunk with a bare backbone.

    Args:
        backbone: module tree with Wan names; its device and dtype of computation are those of `text`.
        text: text-encoder output [B, L, text_dim].
        config: sizes, noise levels and memory.
        noise: initial and fresh noise.
        observers: look at attention, for example a `MassRecorder`.
        home: where the backbone lives.
        material: latents to begin with or to change.

    Yields: as `stream_chunks`.
    """
    video = config.video_layout(text)
    with torch.inference_mode():
        denoiser = BackboneDenoiser(backbone, text, config.memory, video, observers, home, config.skip)
    yield from stream_chunks(denoiser, config, noise, material)


def stream_chunks(
    denoiser: Denoiser, config: StreamConfig, noise: NoiseSource, material: Material = NOTHING
) -> Iterator[Event]:
    """Generate a video chunk by chunk; closes the denoiser however this ends.

    Yields:
        `PassDone` after every pass, `HeadsClassified` when roles appear, `ChunkDone` after every chunk, those of
        the opening included. The consumer may stop at any event by closing the generator.
    """
    try:
        material.check(denoiser.batch, config)
        run = _Run(denoiser, config, noise, material)
        for clock in config.chunks():
            yield from run.chunk(clock)
    finally:
        denoiser.close()


@dataclass
class _Run:
    """One video under way. inference_mode must not span a yield: it would leak into the consumer."""

    denoiser: Denoiser
    config: StreamConfig
    noise: NoiseSource
    material: Material
    seconds: float = 0.0
    classified: bool = False

    def chunk(self, clock: ChunkClock) -> Iterator[Event]:
        """All passes of the chunk whose first pass `clock` describes."""
        self.seconds = 0.0
        x = self.material.opening_of(clock)
        if x is None:
            x, sigmas = self._start(clock), self.config.sigmas
        else:
            x, sigmas = x.to(self.denoiser.device, self.denoiser.dtype), (0.0,)
        for index, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
            clock = replace(clock, pass_index=index, sigma=sigma)
            x0 = self._denoise(x, clock)
            x = self._renoise(x0, clock, after)
            yield PassDone(clock, len(sigmas), x0, self.denoiser.skipped)
        clock = replace(clock, pass_index=len(sigmas) - 1, sigma=0.0, clean=True)
        self._keep(x, clock)
        yield PassDone(clock, len(sigmas), x)
        status = self.denoiser.status
        if status.roles is not None and not self.classified:
            self.classified = True
            yield HeadsClassified(status.roles, status.masses)
        yield ChunkDone(clock, x, self.seconds, status.bytes, status.history_frames)

    def _start(self, clock: ChunkClock) -> Tensor:
        """The chunk before its first pass: noise, mixed with what it is to be made from."""
        noise, source = self._noise(clock, 0), self.material.source_of(clock)
        return noise if source is None else torch.lerp(source.to(noise), noise, self.config.sigmas[0])

    @torch.inference_mode()
    def _denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        started = time.perf_counter()
        x0 = self.denoiser.denoise(x, clock)
        self.seconds += time.perf_counter() - started
        return x0

    @torch.inference_mode()
    def _renoise(self, x0: Tensor, clock: ChunkClock, sigma: float) -> Tensor:
        """Put fresh noise of the next pass's level on a prediction."""
        if sigma == 0:
            return x0
        return (1 - sigma) * x0 + sigma * self._noise(clock, clock.pass_index + 1)

    @torch.inference_mode()
    def _keep(self, x: Tensor, clock: ChunkClock) -> None:
        started = time.perf_counter()
        self.denoiser.keep(x, clock)
        _wait_for(x.device)
        self.seconds += time.perf_counter() - started

    def _noise(self, clock: ChunkClock, pass_index: int) -> Tensor:
        shape = (self.denoiser.batch, self.config.channels, clock.frames, *self.config.latent_size)
        return self.noise.draw(clock.chunk, pass_index, shape).to(self.denoiser.device, self.denoiser.dtype)


def _wait_for(device: torch.device) -> None:
    """Kernels run asynchronously on a GPU: wait once a chunk, so that times mean something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
