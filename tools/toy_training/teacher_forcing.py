"""Teacher forcing in one forward: all chunks of a clip at once, noisy ones reading the clean past.

Tokens are [clean frames | noisy frames]. A clean chunk reads clean chunks up to itself, as in the clean pass; a
noisy chunk reads earlier clean chunks and itself, as in a denoising pass. Plugged into `forward_chunk` as its
memory, this trains the very forward that generates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class TeacherForcingClock:
    """Positions of a doubled clip: clean and noisy frames share their places in time."""

    frames: int
    chunk_frames: int
    tokens_per_frame: int

    @property
    def positions(self) -> list[int]:
        return [*range(self.frames), *range(self.frames)]


class TeacherForcing:
    """The training-time counterpart of a dense memory."""

    def __init__(self, clock: TeacherForcingClock):
        chunk = torch.arange(clock.frames * clock.tokens_per_frame) // (clock.chunk_frames * clock.tokens_per_frame)
        query, key = chunk[:, None], chunk[None, :]
        self._clean = query >= key
        self._noisy = torch.cat([query > key, query == key], dim=1)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: TeacherForcingClock) -> Tensor:
        """q, k, v [B, 2 * F * n, H, D] -> attention output of the same shape."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        half = clock.frames * clock.tokens_per_frame
        clean_q, noisy_q = q.split(half, dim=2)
        clean = F.scaled_dot_product_attention(clean_q, k[:, :, :half], v[:, :, :half], attn_mask=self._clean)
        noisy = F.scaled_dot_product_attention(noisy_q, k, v, attn_mask=self._noisy)
        return torch.cat([clean, noisy], dim=2).transpose(1, 2)
