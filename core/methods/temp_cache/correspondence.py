"""Which token of the frame before a token continues: FAST-AR's temporal correspondence (arXiv 2602.01801, 5.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ....kernels.norm_rope import apply_rope
from ...wan.rope import move_in_time, rope_rotations
from . import Compare, Place

NONE = -1


class Correspondence:
    """Matches tokens of neighbouring frames by the cosine of their keys.

    A token continues at most one token of the frame before and is continued by at most one of the frame after, so
    groups are chains with one token per frame. Items of a batch share their chains: a match must hold in all of
    them.
    """

    def __init__(self, place: Place, compare: Compare, similarity: float, grid: tuple[int, int]):
        """grid: rows and columns of a frame's tokens."""
        self._place, self._compare, self._similarity = place, compare, similarity
        self._grid = grid

    def features(self, k: Tensor, frame: int) -> Tensor:
        """The form in which a frame's roped keys [B, n, H, D] are compared: unit vectors, RoPE undone unless told
        otherwise.

        At the same place RoPE's rows and columns turn both tokens alike, so only time has to be undone.
        """
        if self._compare == "unroped" and self._place == "same":
            k = move_in_time(k, -frame)
        elif self._compare == "unroped":
            k = apply_rope(k, rope_rotations([frame], *self._grid, k.shape[-1], k.device).conj())
        return F.normalize(k.float(), dim=-1).to(k.dtype)

    def match(self, new: Tensor, old: Tensor) -> Tensor:
        """For every token of a frame, the token of the frame before that it continues.

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
        stays = same >= cosine  # among equally similar tokens the one at the same place wins
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
    """The best of all tokens: cosines and indices [H, n]. One head at a time, to save memory for the cosines."""
    found = [_agreed((new[:, :, head] @ old[:, :, head].mT).float()).max(-1) for head in range(new.shape[2])]
    return torch.stack([each.values for each in found]), torch.stack([each.indices for each in found])


def _agreed(cosine: Tensor) -> Tensor:
    """The least cosine over a batch [B, ...], since its items share chains; capped at 1 against rounding."""
    return cosine.amin(0).clamp(max=1)


def _one_to_one(index: Tensor, cosine: Tensor, similarity: float) -> Tensor:
    """Where several tokens would continue the same one, only the most similar does, or the first of equals."""
    cosine = torch.where(cosine > similarity, cosine, float("-inf"))
    best = torch.full_like(cosine, float("-inf")).scatter_reduce(1, index, cosine, "amax")
    wins = (cosine == best.gather(1, index)) & (cosine > float("-inf"))
    own = torch.arange(index.shape[1], device=index.device).expand_as(index)
    last = index.shape[1]
    first = torch.full_like(index, last).scatter_reduce(1, index, torch.where(wins, own, last), "amin")
    return torch.where(wins & (first.gather(1, index) == own), index, NONE)
