"""What the chunk loop drives: a model together with the memory of one video."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn

from ...kernels import numbers_on
from ..clock import ChunkClock
from ..memory.memory import AttentionObserver, Cut, MemoryStatus
from ..memory_config import MemoryConfig
from ..methods.pass_skip import PassSkip
from ..methods.pass_skip.run import PassSkipRun
from ..video import VideoShape
from ..wan.forward import STANDALONE, Runtime, encode_prompt, forward_chunk
from .sigmas import TRAINING_STEPS


class Denoiser(Protocol):
    """A model at work on one video: a bare backbone, or a whole ComfyUI guider."""

    batch: int
    device: torch.device
    dtype: torch.dtype
    """Of the latents that it is given."""

    @property
    def status(self) -> MemoryStatus:
        """What is held now."""
        ...

    @property
    def skipped(self) -> bool:
        """Whether the last pass was skipped."""
        ...

    def denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """Noisy latents [B, C, F, h, w] at `clock.sigma` -> the clean latents predicted."""
        ...

    def keep(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """The clean pass: write the keys and values of x and commit them.

        x is finished latents, or has noise of `clock.sigma` on it; returns the clean latents predicted.
        """
        ...

    def set_prompt(self, text: Tensor) -> None:
        """Go on under another prompt: text-encoder output [1 or B, L, text_dim]."""
        ...

    def restart(self, first_chunk: int, new_prompt: bool) -> None:
        """Forget everything; chunks before this one, as the memory counts, will be context.

        new_prompt: the prompt has changed too, which may be a reason to measure heads again.
        """
        ...

    def rewind(self, cut: Cut, next_chunk: int) -> bool:
        """As `Memory.rewind`."""
        ...

    def forget(self, cut: Cut) -> None:
        """As `Memory.forget`."""
        ...

    def close(self) -> None:
        """Free the memory."""
        ...


class BackboneDenoiser:
    """A bare backbone with one prompt.

    skip: the run of pass skipping; None if every pass is computed.
    """

    def __init__(
        self,
        backbone: nn.Module,
        text: Tensor,
        config: MemoryConfig,
        video: VideoShape,
        observers: Sequence[AttentionObserver] = (),
        runtime: Runtime = STANDALONE,
        skip: PassSkip | None = None,
    ):
        """text: text-encoder output [B, L, text_dim] on the device and in the dtype of computation."""
        self.batch, self.device, self.dtype = text.shape[0], text.device, text.dtype
        self.skip = None if skip is None else PassSkipRun(skip)
        self._backbone = backbone
        self._runtime = runtime
        self._prompt = encode_prompt(backbone, text)
        self._memory = config.begin(video, observers)

    @property
    def status(self) -> MemoryStatus:
        return self._memory.status

    @property
    def skipped(self) -> bool:
        return self.skip is not None and self.skip.skipped

    def denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        return (x - sigmas_for(clock, x) * self.flow(x, clock)).to(x.dtype)

    def keep(self, x: Tensor, clock: ChunkClock) -> Tensor:
        x0 = self.denoise(x, clock)
        self.commit(clock)
        return x0

    def commit(self, clock: ChunkClock) -> None:
        """Keep the keys and values of a clean pass."""
        self._memory.commit(clock)

    def set_prompt(self, text: Tensor) -> None:
        self._prompt = encode_prompt(self._backbone, text.expand(self.batch, -1, -1))
        self._memory.change_prompt()

    def restart(self, first_chunk: int, new_prompt: bool) -> None:
        self._memory.restart(first_chunk, new_prompt=new_prompt)

    def rewind(self, cut: Cut, next_chunk: int) -> bool:
        return self._memory.rewind(cut, next_chunk)

    def forget(self, cut: Cut) -> None:
        self._memory.forget(cut)

    def flow(
        self,
        x: Tensor,
        clock: ChunkClock,
        timesteps: Tensor | None = None,
        runtime: Runtime | None = None,
        may_skip: bool = True,
    ) -> Tensor:
        """One pass: the predicted flow of x, noise minus data.

        Args:
            timesteps: as in `timesteps_for`, which is the default.
            runtime: in place of the usual one, where it changes from pass to pass.
            may_skip: whether pass skipping may see this pass and replace its blocks by their residual.
        """
        if timesteps is None or clock.frame_sigmas is not None:
            timesteps = timesteps_for(clock, x)
        skip = self.skip if may_skip else None
        return forward_chunk(
            self._backbone, x, timesteps, self._prompt, self._memory, clock, runtime or self._runtime, skip
        )

    def close(self) -> None:
        self._memory.close()
        if self.skip is not None:
            self.skip.close()


def sigmas_for(clock: ChunkClock, like: Tensor) -> Tensor | float:
    """Noise level of a pass, or fp32 those of its frames, broadcasting over latents [B, C, F, h, w]."""
    if clock.frame_sigmas is None:
        return clock.sigma
    return _levels(clock.frame_sigmas, like.device).view(1, 1, -1, 1, 1)


def timesteps_for(clock: ChunkClock, x: Tensor) -> Tensor:
    """Timesteps of a pass over latents x [B, C, F, h, w]: fp32 [B], or [B, F] where frames differ."""
    if clock.frame_sigmas is None:
        return x.new_full((x.shape[0],), clock.sigma * TRAINING_STEPS, dtype=torch.float32)
    return (_levels(clock.frame_sigmas, x.device) * TRAINING_STEPS).expand(x.shape[0], -1)


@lru_cache(maxsize=64)  # a schedule has few levels, so each is copied to the device only once
@torch.inference_mode(False)
def _levels(levels: tuple[float, ...], device: torch.device) -> Tensor:
    return numbers_on(levels, torch.float32, device)
