"""What all loops do with a denoiser: passes, fresh noise, time keeping, the events of a finished chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...kernels import on_device
from ..broken import check_chunk
from ..clock import ChunkClock
from ..memory.memory import MemoryStatus
from .config import StreamConfig
from .denoiser import Denoiser
from .events import ChunkDone, HeadsClassified
from .noise import NoiseSource

Result = TypeVar("Result")


@dataclass
class Passes:
    """One video while it is made. inference_mode must not span a yield, or it would leak into the consumer."""

    denoiser: Denoiser
    config: StreamConfig
    noise: NoiseSource
    seconds: float = 0.0
    announced: HeadsClassified | None = None

    @torch.inference_mode()
    def run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call a method of the denoiser; its time counts towards the current chunk."""
        started = time.perf_counter()
        result = call(*arguments)
        self.seconds += time.perf_counter() - started
        return result

    def denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """The clean latents that a pass predicts from x."""
        return self.run(self.denoiser.denoise, x, clock)

    def keep(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """The clean pass; returns what it predicts, which at noise level 0 is x."""
        return self.run(self.denoiser.keep, x, clock)

    def set_prompt(self, text: Tensor) -> None:
        """Go on under another prompt: text-encoder output on any device."""
        self.run(self.denoiser.set_prompt, self.to_device(text))

    @torch.inference_mode()
    def renoise(self, x0: Tensor, clock: ChunkClock, sigma: float, pass_index: int | None = None) -> Tensor:
        """Add fresh noise to a prediction, at the level of the next pass."""
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
        """Latents on the denoiser's device and in its dtype, without waiting for the device."""
        return on_device(latents.to(self.denoiser.dtype), self.denoiser.device)

    def finish(self, clock: ChunkClock, x: Tensor) -> Iterator[HeadsClassified | ChunkDone]:
        """The events of a finished chunk; BrokenVideoError if it contains NaN or infinities."""
        self.run(_wait_for, x.device)
        check_chunk(x, clock.chunk)
        status = self.denoiser.status
        if self._has_news(status):
            self.announced = HeadsClassified(status.roles, status.masses)
            yield self.announced
        seconds, self.seconds = self.seconds, 0.0
        yield ChunkDone(clock, x, seconds, status.bytes, status.history_frames, status.selected)

    def _has_news(self, status: MemoryStatus) -> bool:
        """Whether heads have roles for the first time, or new ones from another measurement."""
        if status.roles is None or self.announced is None:
            return status.roles is not None
        return status.masses is not None and status.masses is not self.announced.masses


def _wait_for(device: torch.device) -> None:
    """Wait once per chunk, so that measured times mean something: kernels run asynchronously on a GPU.

    Waits only for the model's kernels: a decoder may be at work on another stream.
    """
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
