"""The chunk loop: denoise a chunk in a few passes, make a clean pass, commit, go on.

The common loop of Self-Forcing, Causal Forcing, LongLive and their kin (MODELS.md, B0), as a generator that holds
one chunk and yields events. Closing the generator, an exception or exhaustion all free the memory.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import DummyForcingError
from ..memory.clock import ChunkClock
from ..memory.config import MemoryConfig, VideoLayout, build_memory
from ..memory.memory import AttentionObserver, Memory
from ..wan.forward import Cast, PromptKV, cast_like, encode_prompt, forward_chunk
from ..wan.shape import PATCH
from .events import ChunkDone, Event, HeadsClassified, PassDone
from .noise import NoiseSource
from .sigmas import TRAINING_STEPS


@dataclass(frozen=True)
class StreamConfig:
    """How a video is generated.

    Attributes:
        sigmas: noise levels of the denoising passes, decreasing from 1 and ending with 0.
        chunk_frames: latent frames denoised together.
        total_frames: latent frames of the video, a multiple of chunk_frames; None streams without end.
        latent_size: height and width in latent pixels, both even.
        channels: latent channels.
        memory: what is kept and read.
    """

    sigmas: tuple[float, ...]
    chunk_frames: int
    total_frames: int | None
    latent_size: tuple[int, int]
    channels: int = 16
    memory: MemoryConfig = field(default_factory=MemoryConfig)

    def __post_init__(self) -> None:
        levels = self.sigmas
        falling = all(a > b for a, b in itertools.pairwise(levels))
        if len(levels) < 2 or levels[-1] != 0 or levels[0] > 1 or not falling:
            raise DummyForcingError(f"noise levels {levels}: expected to fall from at most 1 down to 0")
        if self.chunk_frames < 1:
            raise DummyForcingError(f"chunks of {self.chunk_frames} latent frames: expected at least 1")
        if self.total_frames is not None and (self.total_frames < 1 or self.total_frames % self.chunk_frames):
            raise DummyForcingError(
                f"a length of {self.total_frames} latent frames cannot be cut into chunks of {self.chunk_frames}; "
                f"use a positive multiple of {self.chunk_frames}"
            )
        if any(side < PATCH or side % PATCH for side in self.latent_size):
            raise DummyForcingError(
                f"a latent size of {self.latent_size} does not fit {PATCH} x {PATCH} patches; "
                "use a height and width that are multiples of 16 pixels"
            )

    @property
    def tokens_per_frame(self) -> int:
        return (self.latent_size[0] // PATCH) * (self.latent_size[1] // PATCH)


def stream_video(
    backbone: nn.Module,
    text: Tensor,
    config: StreamConfig,
    noise: NoiseSource,
    observers: Sequence[AttentionObserver] = (),
    cast: Cast = cast_like,
) -> Iterator[Event]:
    """Generate a video chunk by chunk.

    Args:
        backbone: module tree with Wan names; its device and dtype of computation are those of `text`.
        text: text-encoder output [B, L, text_dim].
        config: sizes, noise levels and memory.
        noise: initial and fresh noise.
        observers: look at attention, for example a `MassRecorder`.
        cast: the home's cast of bare parameters.

    Yields:
        `PassDone` after every pass, `HeadsClassified` when roles appear, `ChunkDone` after every chunk. The
        consumer may stop at any event by closing the generator.
    """
    video = VideoLayout(
        batch=text.shape[0],
        tokens_per_frame=config.tokens_per_frame,
        chunk_frames=config.chunk_frames,
        total_frames=config.total_frames,
        dtype=text.dtype,
        device=text.device,
    )
    memory = build_memory(config.memory, backbone, video, observers)
    try:
        with torch.inference_mode():
            prompt = encode_prompt(backbone, text)
        run = _Run(backbone, prompt, config, noise, memory, cast, text)
        chunks = (
            itertools.count() if config.total_frames is None else range(config.total_frames // config.chunk_frames)
        )
        for chunk in chunks:
            yield from run.chunk(chunk)
    finally:
        memory.close()


@dataclass
class _Run:
    """One video under way. inference_mode must not span a yield: it would leak into the consumer."""

    backbone: nn.Module
    prompt: PromptKV
    config: StreamConfig
    noise: NoiseSource
    memory: Memory
    cast: Cast
    like: Tensor
    seconds: float = 0.0
    classified: bool = False

    def chunk(self, chunk: int) -> Iterator[Event]:
        self.seconds = 0.0
        sigmas = self.config.sigmas
        passes = len(sigmas)
        x = self._noise(chunk, 0)
        for index, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
            clock = self._clock(chunk, index, sigma, clean=False)
            x = self._denoise(x, clock, after)
            yield PassDone(clock, passes)
        clock = self._clock(chunk, passes - 1, 0.0, clean=True)
        self._clean_pass(x, clock)
        yield PassDone(clock, passes)
        if self.memory.roles is not None and not self.classified:
            self.classified = True
            yield HeadsClassified(self.memory.roles, self.memory.masses)
        yield ChunkDone(clock, x, self.seconds, self.memory.bytes, self.memory.history_frames)

    @torch.inference_mode()
    def _denoise(self, x: Tensor, clock: ChunkClock, next_sigma: float) -> Tensor:
        """One pass: predict x0, then put fresh noise of the next level on it."""
        started = time.perf_counter()
        x0 = x - clock.sigma * self._flow(x, clock)
        if next_sigma > 0:
            x0 = (1 - next_sigma) * x0 + next_sigma * self._noise(clock.chunk, clock.pass_index + 1)
        self.seconds += time.perf_counter() - started
        return x0

    @torch.inference_mode()
    def _clean_pass(self, x: Tensor, clock: ChunkClock) -> None:
        started = time.perf_counter()
        self._flow(x, clock)
        self.memory.commit(clock)
        _wait_for(x.device)
        self.seconds += time.perf_counter() - started

    def _flow(self, x: Tensor, clock: ChunkClock) -> Tensor:
        t = x.new_full((x.shape[0],), clock.sigma * TRAINING_STEPS, dtype=torch.float32)
        return forward_chunk(self.backbone, x, t, self.prompt, self.memory, clock, self.cast)

    def _noise(self, chunk: int, pass_index: int) -> Tensor:
        config = self.config
        shape = (self.like.shape[0], config.channels, config.chunk_frames, *config.latent_size)
        return self.noise.draw(chunk, pass_index, shape).to(self.like)

    def _clock(self, chunk: int, pass_index: int, sigma: float, *, clean: bool) -> ChunkClock:
        config = self.config
        return ChunkClock(
            chunk=chunk,
            start_frame=chunk * config.chunk_frames,
            frames=config.chunk_frames,
            tokens_per_frame=config.tokens_per_frame,
            pass_index=pass_index,
            sigma=sigma,
            clean=clean,
        )


def _wait_for(device: torch.device) -> None:
    """Kernels run asynchronously on a GPU: wait once a chunk, so that times mean something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
