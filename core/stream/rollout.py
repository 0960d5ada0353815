"""Rollouts: a memory that starts over every so often, from latents instead of from keys and values.

CausVid makes videos longer than it was trained for in rollouts of 21 latent frames that overlap by 3 (MODELS.md,
B4); Krea Realtime starts over with every chunk and computes the keys and values of 3 context frames anew (B3). Both
count positions from 0 in every rollout, and both give the first context frame as the image that it decodes to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..wan.vae_stream import FRAMES_PER_LATENT


@dataclass(frozen=True)
class Rollout:
    """How memories start over.

    Attributes:
        frames: latent frames that one memory lives for, its context included.
        context: clean latent frames of the rollout before with which the next one begins, whole chunks.
    """

    frames: int
    context: int

    def check(self, chunk_frames: int) -> None:
        """Raises DummyForcingError where rollouts do not fit the chunks."""
        if self.context < 0 or self.context % chunk_frames or self.frames < self.context + chunk_frames:
            raise DummyForcingError(
                f"rollouts of {self.frames} latent frames with a context of {self.context} do not fit chunks of "
                f"{chunk_frames}; use a context of whole chunks and room for at least one chunk more"
            )


class ImageAnchor:
    """The first context latent of a rollout as an image of its own, as the models are used to begin.

    Latents but the first of a video say what changes since the one before; a rollout's first frame has none before.
    So its last pixel frame is encoded as an image (demo code of CausVid and Krea Realtime).
    """

    def __init__(
        self, encode: Callable[[Tensor], Tensor], context: int, ready: Callable[[], object] = lambda: None
    ):
        """
        Args:
            encode: frame [B, 1, H, W, 3] fp32 in [0, 1] -> latent [B, C, 1, h, w] in the backbone's scale.
            context: latent frames that a rollout begins with.
            ready: waits until all frames have been added, where that is done beside the stream.
        """
        self._encode = encode
        self._ready = ready
        self._frames: deque[Tensor] = deque(maxlen=1 + FRAMES_PER_LATENT * (context - 1))

    def add(self, frames: Tensor) -> None:
        """Take the decoded frames [B, T, H, W, 3] of the next finished chunk, before the next `apply`."""
        self._frames.extend(frames.split(1, dim=1))

    def apply(self, latents: Tensor) -> Tensor:
        """The first latents [B, C, F, h, w] of a context with the first frame encoded anew.

        Raises:
            DummyForcingError: nobody has given the decoded frames.
        """
        self._ready()
        if len(self._frames) < self._frames.maxlen:
            raise DummyForcingError(
                f"a rollout begins with {self._frames.maxlen} decoded frames, but {len(self._frames)} were given; "
                "decode every chunk as it comes"
            )
        first = self._encode(self._frames[0]).to(latents)
        return torch.cat([first, latents[:, :, 1:]], dim=2)
