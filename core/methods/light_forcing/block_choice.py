"""Key blocks for each block of queries: mean-pooled scores, frames first, then blocks (Light Forcing, section 3).

Blocks never cross the border of a frame. Everything that follows from numbers of frames is decided on the host
(`BlockChoice`), so nothing waits for the device and shapes are the same in every pass of a chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ....kernels import numbers_on, on_device

_ALMOST = 1e-9  # a share such as 1 - 0.9 must not lose a block to rounding


@dataclass(frozen=True)
class BlockChoice:
    """What a block of queries chooses from.

    Attributes:
        eligible: for each frame that is read, whether its blocks may be chosen whatever its score.
        middle: how many of the other frames may be chosen from as well: those with the best scores.
        forced: for each frame, whether all its blocks are chosen.
        blocks: how many key blocks are chosen.
    """

    eligible: tuple[bool, ...]
    middle: int
    forced: tuple[bool, ...]
    blocks: int

    @property
    def by_frame(self) -> bool:
        """Whether frames are chosen before blocks."""
        return sum(self.eligible) + self.middle < len(self.eligible)

    def table(self, scores: Tensor) -> Tensor:
        """Chosen blocks [..., blocks], unordered, for scores [..., frames, blocks of a frame]."""
        if self.by_frame:
            # The score of a frame's mean key is the mean of its blocks' scores.
            best = _raised(scores.mean(-1), self.eligible).topk(sum(self.eligible) + self.middle).indices
            chosen = torch.zeros(scores.shape[:-1], dtype=torch.bool, device=scores.device).scatter_(-1, best, True)
            scores = scores.masked_fill(~chosen[..., None], -math.inf)
        if any(self.forced):
            scores = _raised(scores.transpose(-1, -2), self.forced).transpose(-1, -2)
        return scores.flatten(-2).topk(self.blocks, sorted=False).indices


def count_blocks(total: int, sparsity: float) -> int:
    """How many blocks a sparsity leaves: rounded down, but at least one."""
    return max(1, math.floor((1 - sparsity) * total + _ALMOST))


def block_size(tokens: int, most: int) -> int:
    """Tokens of a block of a frame, at most `most`: a divisor of the frame if there is one above `most` / 2.

    1560 tokens in blocks of up to 128 become 13 of 120, not 12 of 128 and a remainder of 24, whose mean would be
    noisier than the others'. Without such a divisor the last block is smaller.
    """
    whole = (size for size in range(most, most // 2, -1) if tokens % size == 0)
    return next(whole, math.ceil(tokens / math.ceil(tokens / most)))


def pool_blocks(x: Tensor, size: int) -> Tensor:
    """Means of `size` consecutive tokens, the last mean of any left over: [..., L, H, D] -> [..., blocks, H, D].

    Summed in fp32, rounded to the dtype of x.
    """
    whole = x.shape[-3] // size * size
    parts = [x[..., :whole, :, :].unflatten(-3, (-1, size)).mean(-3, dtype=torch.float32)] if whole else []
    if whole < x.shape[-3]:
        parts.append(x[..., whole:, :, :].mean(-3, keepdim=True, dtype=torch.float32))
    return (parts[0] if len(parts) == 1 else torch.cat(parts, -3)).to(x.dtype)


def block_scores(q: Tensor, k: Tensor, blocks_per_frame: int) -> Tensor:
    """Products of pooled queries and keys [B, L, H, D]: fp32 [B, H, Lq, frames, blocks_per_frame]."""
    scores = torch.einsum("bqhd,bkhd->bhqk", q.float(), k.float())
    return scores.unflatten(-1, (-1, blocks_per_frame))


@lru_cache(maxsize=64)
def block_ranges(frames: tuple[int, ...], tokens: int, size: int, device: torch.device) -> Tensor:
    """First key and end of every block, int32 [blocks, 2]; `frames` are the keys that frames begin with.

    Kept for the next call with the same frames: copying them to a device takes time.
    """
    with torch.inference_mode(False):
        starts = torch.arange(0, tokens, size)
        edges = torch.stack([starts, (starts + size).clamp(max=tokens)], -1)
        ranges = torch.tensor(frames)[:, None, None] + edges
        return on_device(ranges.flatten(0, 1).to(torch.int32), device)


def _raised(scores: Tensor, first: tuple[bool, ...]) -> Tensor:
    """Scores [..., frames] in which some frames are raised above all others."""
    return scores + _infinite(first, scores.device)


@lru_cache(maxsize=64)
def _infinite(where: tuple[bool, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return numbers_on([math.inf if each else 0.0 for each in where], torch.float32, device)
