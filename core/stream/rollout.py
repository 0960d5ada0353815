"""Rollouts: a memory that starts over at intervals, from latents instead of from keys and values.

CausVid makes videos longer than it was trained for in rollouts of 21 latent frames that overlap by 3; Krea Realtime
starts over with every chunk and recomputes the keys and values of 3 context frames. Both count positions from 0 in
every rollout, and both decode the first context frame and encode it again as an image (docs/references.md,
"CausVid's rollouts" and "Krea Realtime's loop").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..video import FRAMES_PER_LATENT


@dataclass(frozen=True)
class Rollout:
    """How memories start over.

    Attributes:
        frames: latent frames that one memory lives for, its context included.
        context: clean latent frames, whole chunks, of the rollout before that the next one begins with.
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
    """Makes the first context latent of a rollout an encoded image, which is how the models expect a video to
    begin.

    All latents of a video except the first encode changes since the one before; a rollout's first latent has none
    before it. So its last pixel frame is encoded as an image (demo code of CausVid and Krea Realtime).
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
        """The latents [B, C, F, h, w] of a context, with the first frame encoded again.

        Raises:
            DummyForcingError: the decoded frames have not been added.
        """
        self._ready()
        if len(self._frames) < self._frames.maxlen:
            raise DummyForcingError(
                f"a rollout begins with {self._frames.maxlen} decoded frames, but {len(self._frames)} were given; "
                "decode every chunk as it comes"
            )
        first = self._encode(self._frames[0]).to(latents)
        return torch.cat([first, latents[:, :, 1:]], dim=2)
