"""What all loops do with a denoiser: passes, fresh noise, time keeping, the events of a finished chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...kernels import on_device
from ..memory.clock import ChunkClock
from ..memory.memory import MemoryStatus
from .broken import check_chunk
from .config import StreamConfig
from .denoiser import Denoiser
from .events import ChunkDone, HeadsClassified
from .noise import NoiseSource

Result = TypeVar("Result")


@dataclass
class Passes:
    """One video under way. inference_mode must not span a yield: it would leak into the consumer."""

    denoiser: Denoiser
    config: StreamConfig
    noise: NoiseSource
    seconds: float = 0.0
    announced: HeadsClassified | None = None

    @torch.inference_mode()
    def run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call a method of the denoiser; its time counts for the chunk under way."""
        started = time.perf_counter()
        result = call(*arguments)
        self.seconds += time.perf_counter() - started
        return result

    def denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """The clean latents that a pass predicts of x."""
        return self.run(self.denoiser.denoise, x, clock)

    def keep(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """The clean pass; returns what it predicts, which at noise level 0 is x."""
        return self.run(self.denoiser.keep, x, clock)

    def set_prompt(self, text: Tensor) -> None:
        """Go on under another prompt: text-encoder output on any device."""
        self.run(self.denoiser.set_prompt, self.to_device(text))

    @torch.inference_mode()
    def renoise(self, x0: Tensor, clock: ChunkClock, sigma: float, pass_index: int | None = None) -> Tensor:
        """Put fresh noise of the level of the next pass on a prediction."""
        if sigma == 0:
            return x0
        index = clock.pass_index + 1 if pass_index is None else pass_index
        return (1 - sigma) * x0 + sigma * self.draw(clock, index)

    def draw(self, clock: ChunkClock, pass_index: int) -> Tensor:
        """Noise of a chunk on the device; pass 0 is what the chunk begins with."""
        shape = (self.denoiser.batch, self.config.channels, clock.frames, *self.config.latent_size)
        noise = self.noise.draw(clock.chunk, pass_index, shape)
        return self.to_device(noise)

    def to_device(self, latents: Tensor) -> Tensor:
        """Latents where and as the denoiser takes them; the device is not waited for."""
        return on_device(latents.to(self.denoiser.dtype), self.denoiser.device)

    def finish(self, clock: ChunkClock, x: Tensor) -> Iterator[HeadsClassified | ChunkDone]:
        """The events of a chunk that is done; BrokenVideoError where it is no picture."""
        self.run(_wait_for, x.device)
        check_chunk(x, clock.chunk)
        status = self.denoiser.status
        if self._has_news(status):
            self.announced = HeadsClassified(status.roles, status.masses)
            yield self.announced
        seconds, self.seconds = self.seconds, 0.0
        yield ChunkDone(clock, x, seconds, status.bytes, status.history_frames, status.selected)

    def _has_news(self, status: MemoryStatus) -> bool:
        """Whether heads have got roles for the first time, or others by a new measurement."""
        if status.roles is None or self.announced is None:
            return status.roles is not None
        return status.masses is not None and status.masses is not self.announced.masses


def _wait_for(device: torch.device) -> None:
    """Kernels run asynchronously on a GPU: wait once a chunk, so that times mean something.

    For those of the model alone: a decoder may be at work on another stream.
    """
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
