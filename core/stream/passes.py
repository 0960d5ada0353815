"""What all loops do with a denoiser: passes, fresh noise, time keeping, the events of a finished chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.clock import ChunkClock
from .config import StreamConfig
from .denoiser import Denoiser
from .events import ChunkDone, HeadsClassified
from .noise import NoiseSource


@dataclass
class Passes:
    """One video under way. inference_mode must not span a yield: it would leak into the consumer."""

    denoiser: Denoiser
    config: StreamConfig
    noise: NoiseSource
    seconds: float = 0.0
    classified: bool = False

    def denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """The clean latents that a pass predicts of x."""
        return self._timed(self.denoiser.denoise, x, clock)

    def keep(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """The clean pass; returns what it predicts, which at noise level 0 is x."""
        kept = self._timed(self.denoiser.keep, x, clock)
        started = time.perf_counter()
        _wait_for(x.device)
        self.seconds += time.perf_counter() - started
        return kept

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
        """Latents where and as the denoiser takes them."""
        return latents.to(self.denoiser.device, self.denoiser.dtype)

    def finish(self, clock: ChunkClock, x: Tensor) -> Iterator[HeadsClassified | ChunkDone]:
        """The events of a chunk that is done."""
        status = self.denoiser.status
        if status.roles is None:
            self.classified = False
        elif not self.classified:
            self.classified = True
            yield HeadsClassified(status.roles, status.masses)
        seconds, self.seconds = self.seconds, 0.0
        yield ChunkDone(clock, x, seconds, status.bytes, status.history_frames)

    @torch.inference_mode()
    def _timed(self, run: Callable[[Tensor, ChunkClock], Tensor], x: Tensor, clock: ChunkClock) -> Tensor:
        started = time.perf_counter()
        result = run(x, clock)
        self.seconds += time.perf_counter() - started
        return result


def _wait_for(device: torch.device) -> None:
    """Kernels run asynchronously on a GPU: wait once a chunk, so that times mean something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
