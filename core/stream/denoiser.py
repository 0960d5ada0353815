"""What the chunk loop drives: a model together with the memory of one video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ..memory.clock import ChunkClock
from ..memory.config import MemoryConfig, VideoLayout, build_memory
from ..memory.memory import AttentionObserver, MemoryStatus
from ..wan.forward import STANDALONE, Home, encode_prompt, forward_chunk
from .pass_skip import PassSkip, PassSkipRun
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

    def keep(self, x: Tensor, clock: ChunkClock) -> None:
        """The clean pass: write the keys and values of finished latents and commit them."""
        ...

    def close(self) -> None:
        """Free the memory."""
        ...


class BackboneDenoiser:
    """A bare backbone with one prompt."""

    def __init__(
        self,
        backbone: nn.Module,
        text: Tensor,
        config: MemoryConfig,
        video: VideoLayout,
        observers: Sequence[AttentionObserver] = (),
        home: Home = STANDALONE,
        skip: PassSkip | None = None,
    ):
        """text: text-encoder output [B, L, text_dim] on the device and in the dtype of computation."""
        self.batch, self.device, self.dtype = text.shape[0], text.device, text.dtype
        self._backbone = backbone
        self._home = home
        self._prompt = encode_prompt(backbone, text)
        self._memory = build_memory(config, backbone, video, observers, home.attention)
        self._skip = None if skip is None else PassSkipRun(skip)

    @property
    def status(self) -> MemoryStatus:
        return self._memory.status

    @property
    def skipped(self) -> bool:
        return self._skip is not None and self._skip.skipped

    def denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        return x - clock.sigma * self.flow(x, clock)

    def keep(self, x: Tensor, clock: ChunkClock) -> None:
        self.flow(x, clock)
        self._memory.commit(clock)

    def flow(self, x: Tensor, clock: ChunkClock) -> Tensor:
        """One pass: the predicted flow of x, noise minus data."""
        t = x.new_full((x.shape[0],), clock.sigma * TRAINING_STEPS, dtype=torch.float32)
        return forward_chunk(self._backbone, x, t, self._prompt, self._memory, clock, self._home, self._skip)

    def close(self) -> None:
        self._memory.close()
        if self._skip is not None:
            self._skip.close()
