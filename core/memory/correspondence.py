"""Which token of the frame before a token continues: FAST-AR's temporal correspondence (arXiv 2602.01801, 5.1)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..wan.rope import apply_rope, move_in_time, rope_rotations

Place = Literal["same", "neighbourhood", "nearest"]
"""Where a token's predecessor may be: at its own place, there or next to it (3 x 3), anywhere in the frame."""

Compare = Literal["unroped", "roped"]

NONE = -1


class Correspondence:
    """Matches tokens of neighbouring frames by the cosine of their keys.

    A token continues at most one token of the frame before and is continued by at most one of the frame after, so
    that groups are chains with one token a frame. Items of a batch share their chains: all of them must agree.
    """

    def __init__(self, place: Place, compare: Compare, similarity: float, grid: tuple[int, int] | None):
        """grid: rows and columns of a frame's tokens; needed for places other than "same"."""
        self._place, self._compare, self._similarity = place, compare, similarity
        self._grid = grid

    def features(self, k: Tensor, frame: int) -> Tensor:
        """What is compared of a frame's roped keys [B, n, H, D]: unit vectors, RoPE undone unless told otherwise.

        Without a change of place RoPE's rows and columns turn both tokens alike, and only time has to be undone.
        """
        if self._compare == "unroped" and self._place == "same":
            k = move_in_time(k, -frame)
        elif self._compare == "unroped":
            k = apply_rope(k, rope_rotations([frame], *self._grid, k.shape[-1], k.device).conj())
        return F.normalize(k.float(), dim=-1).to(k.dtype)

    def match(self, new: Tensor, old: Tensor) -> Tensor:
        """For every token of a frame the one before that it continues.

        Args:
            new, old: features [B, n, H, D] of a frame and the one before.

        Returns:
            int64 [H, n], NONE for tokens that continue none.
        """
        own = torch.arange(new.shape[1], device=new.device)
        same = _agreed((new * old).float().sum(-1)).t()
        if self._place == "same":
            return torch.where(same > self._similarity, own, NONE)
        found = self._around(new, old) if self._place == "neighbourhood" else _anywhere(new, old)
        cosine, index = found
        stays = same >= cosine  # tokens that look alike keep their places
        index = torch.where(stays, own, index)
        return _one_to_one(index, torch.where(stays, same, cosine), self._similarity)

    def _around(self, new: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        """The best of the 3 x 3 tokens around each place: cosines and indices [H, n]."""
        rows, columns = self._grid
        row, column = (each.flatten() for each in torch.meshgrid(
            torch.arange(rows, device=new.device), torch.arange(columns, device=new.device), indexing="ij"
        ))  # fmt: skip
        best = torch.full((new.shape[2], new.shape[1]), float("-inf"), device=new.device)
        index = torch.zeros_like(best, dtype=torch.int64)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                there = (row + down).clamp(0, rows - 1) * columns + (column + right).clamp(0, columns - 1)
                cosine = _agreed((new * old[:, there]).float().sum(-1)).t()
                index = torch.where(cosine > best, there, index)
                best = torch.maximum(cosine, best)
        return best, index


def _anywhere(new: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
    """The best of all tokens: cosines and indices [H, n]. A head at a time, since the cosines of all are many."""
    found = [_agreed((new[:, :, head] @ old[:, :, head].mT).float()).max(-1) for head in range(new.shape[2])]
    return torch.stack([each.values for each in found]), torch.stack([each.indices for each in found])


def _agreed(cosine: Tensor) -> Tensor:
    """The least of a batch [B, ...]: its items share their chains. Rounding makes none larger than 1."""
    return cosine.amin(0).clamp(max=1)


def _one_to_one(index: Tensor, cosine: Tensor, similarity: float) -> Tensor:
    """Of tokens that would continue the same one, the most similar does; of equals the first. All [H, n]."""
    cosine = torch.where(cosine > similarity, cosine, float("-inf"))
    best = torch.full_like(cosine, float("-inf")).scatter_reduce(1, index, cosine, "amax")
    wins = (cosine == best.gather(1, index)) & (cosine > float("-inf"))
    own = torch.arange(index.shape[1], device=index.device).expand_as(index)
    last = index.shape[1]
    first = torch.full_like(index, last).scatter_reduce(1, index, torch.where(wins, own, last), "amin")
    return torch.where(wins & (first.gather(1, index) == own), index, NONE)
