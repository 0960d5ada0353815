"""The shape of a video and of the model that makes it: the one place where sizes are counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .wan.shape import PATCH

if TYPE_CHECKING:
    import torch

FRAMES_PER_LATENT = 4
"""Video frames that a latent frame stands for; the first latent frame of a video stands for only one."""

PIXELS_PER_LATENT = 8
"""Side of a latent pixel in pixels."""

PIXELS_PER_TOKEN = PATCH * PIXELS_PER_LATENT
"""Side of a token in pixels."""


@dataclass(frozen=True)
class VideoShape:
    """Everything that a memory and its methods may know about the model and the video.

    Frames are latent frames throughout.

    Attributes:
        layers, heads, head_dim: of the model.
        chunk_frames: frames of a chunk.
        total_frames: frames of the video; None for one without end.
        first_frames: frames of the first chunk where it differs from the others, as it does after a start image.
        longest_pass: the most frames in one pass, where a pass takes several chunks at once.
        first_chunk: chunks before this one are context, given to a memory when it starts over; they are not
            generated.
        batch: videos generated together.
        grid: rows and columns of a frame's tokens.
        dtype, device: of keys and values; None for torch's defaults.
    """

    layers: int
    heads: int
    chunk_frames: int
    total_frames: int | None = None
    first_frames: int | None = None
    longest_pass: int | None = None
    first_chunk: int = 0
    batch: int = 1
    grid: tuple[int, int] = (1, 1)
    head_dim: int = 1
    dtype: torch.dtype | None = None
    device: torch.device | None = None

    @property
    def tokens_per_frame(self) -> int:
        return math.prod(self.grid)

    @property
    def pass_frames(self) -> int:
        """The most frames in any pass."""
        return max(self.chunk_frames, self.first_frames or 0, self.longest_pass or 0)

    @property
    def whole_frames(self) -> int | None:
        """Total frames, counting the last chunk as a whole one: a memory must have room for this many."""
        if self.total_frames is None:
            return None
        first = self.start_frame(1)
        return first + -(-max(0, self.total_frames - first) // self.chunk_frames) * self.chunk_frames

    def start_frame(self, chunk: int) -> int:
        """The frame with which a chunk begins."""
        first = self.chunk_frames if self.first_frames is None else self.first_frames
        return first + (chunk - 1) * self.chunk_frames if chunk else 0

    def chunk_ends(self) -> list[int]:
        """Frames that exist after each chunk, for a video that ends."""
        ends = []
        while not ends or ends[-1] < self.total_frames:
            ends.append(min(self.total_frames, self.start_frame(len(ends) + 1)))
        return ends


def token_grid(latent_height: int, latent_width: int) -> tuple[int, int]:
    """Rows and columns of tokens of a latent frame; an incomplete patch at the edge is padded."""
    return -(-latent_height // PATCH), -(-latent_width // PATCH)


def pixel_frames(latent_frames: int) -> int:
    """Video frames that the Wan VAE makes of this many latent frames."""
    return max(0, 1 + FRAMES_PER_LATENT * (latent_frames - 1))
