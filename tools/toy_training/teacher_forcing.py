"""Teacher forcing in one forward: all chunks of a clip at once, noisy ones reading the clean past.

Tokens are [clean frames | noisy frames]. A clean chunk reads clean chunks up to itself, as in the clean pass; a
noisy chunk reads earlier clean chunks and itself, as in a denoising pass. Plugged into `forward_chunk` as its
memory, this trains the very forward that generates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dummy_forcing.kernels import NormRope


@dataclass(frozen=True)
class TeacherForcingClock:
    """Positions of a doubled clip: clean and noisy frames share their places in time.

    A clip of a single chunk has no past to read and is not doubled.
    """

    frames: int
    chunk_frames: int
    tokens_per_frame: int

    @property
    def single(self) -> bool:
        return self.frames == self.chunk_frames

    @property
    def positions(self) -> list[int]:
        return list(range(self.frames)) * (1 if self.single else 2)


@dataclass(frozen=True)
class TeacherForcing:
    """The training-time counterpart of a dense memory, or of a short window with a frame sink.

    With `short_context` a chunk reads frame 0 and the chunk before it only, as LongLive is tuned (arXiv 2509.22622,
    short window attention with a frame sink): a model that streams for ever must not depend on all of its past.

    Plain matrix products instead of a masked fused call: the fused backward for heads this narrow takes several
    times as long on a CPU, and most of the mask would be empty.
    """

    short_context: bool = False

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: TeacherForcingClock, finish: NormRope
    ) -> Tensor:
        """q, k, v [B, 2 * F * n or F * n, H, D] as projected -> attention output of the same shape."""
        q, k = finish(q, k)
        chunks = clock.frames // clock.chunk_frames
        halves = 1 if clock.single else 2
        # [B, L, H, D] -> per chunk [B, H, 2 (clean, noisy), tokens, D]
        q, k, v = (x.unflatten(1, (halves, chunks, -1)).permute(0, 4, 1, 2, 3, 5).unbind(3) for x in (q, k, v))
        outputs = [self._chunk(index, q, k, v, clock.tokens_per_frame) for index in range(chunks)]
        return torch.stack(outputs, dim=3).permute(0, 2, 3, 4, 1, 5).flatten(1, 3)

    def _chunk(self, index: int, q, k, v, tokens_per_frame: int) -> Tensor:
        own = q[index] @ k[index].transpose(-1, -2)
        scale = q[index].shape[-1] ** -0.5
        if index == 0:
            return (own * scale).softmax(-1) @ v[index]
        past_k, past_v = (torch.cat(self._past(index, x, tokens_per_frame), dim=2) for x in (k, v))
        past = (q[index].flatten(2, 3) @ past_k.transpose(-1, -2)).unflatten(2, own.shape[2:4])
        weights = (torch.cat([past, own], dim=-1) * scale).softmax(-1)
        past, own = weights.split([past.shape[-1], own.shape[-1]], dim=-1)
        return (past.flatten(2, 3) @ past_v).unflatten(2, own.shape[2:4]) + own @ v[index]

    def _past(self, index: int, x: tuple[Tensor, ...], tokens_per_frame: int) -> list[Tensor]:
        """The clean tokens that chunk `index` looks back to."""
        clean = [chunk[:, :, 0] for chunk in x[:index]]
        if not self.short_context or index == 1:
            return clean
        return [clean[0][:, :, :tokens_per_frame], clean[-1]]
