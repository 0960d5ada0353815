"""Head scores: how a head's attention divides between frame 0, other history and the current chunk.

Dummy Forcing, arXiv 2601.20499, Eq. 3: mean softmax mass of the (sampled) queries on each frame group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import DummyForcingError

BINS = ("first", "history", "current")
"""Order of the last axis of every tensor of masses."""

# Upper bound of heads x rows x keys in one attention call: back ends without a fused kernel materialise that
# many fp32 logits (256 MiB, and a small number of copies of it).
MAX_LOGITS = 1 << 26


def sample_rows(queries: int, fraction: float, *, seed: int, layer: int) -> Tensor:
    """Indices of a random `fraction` of the `queries`: int64 [rows] on the CPU, ascending, without repeats.

    The same (seed, layer) gives the same rows on every device; the global generators are left alone. There is
    at least one row. Raises DummyForcingError unless 0 < fraction <= 1.
    """
    if not 0.0 < fraction <= 1.0:
        raise DummyForcingError(f"The share of sampled queries is {fraction}; give a number in (0, 1].")
    digest = hashlib.sha256(f"rows {seed} {layer}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    rows = max(1, round(queries * fraction))
    return torch.randperm(queries, generator=generator)[:rows].sort().values


@torch.no_grad()
def attention_mass(
    q: Tensor, k: Tensor, key_frames: Sequence[int], current_start: int, rows: Tensor | None = None
) -> Tensor:
    """Mean softmax mass per frame bin: fp32 [batch, heads, 3], bins as in `BINS`, summing to 1.

    q: [batch, queries, heads, head_dim], k: [batch, keys, heads, head_dim], both with RoPE applied, as the
    head reads them. `key_frames`: the latent frame index of each of len(key_frames) equal blocks of keys.
    Frames from `current_start` on count as current, frame 0 included; of the others, frame 0 is `first` and
    the rest `history`. `rows`: int64 [rows], the queries to average over (all when None).

    The mass is computed as attention over one-hot values that mark the bin of each key, so any fused attention
    computes it in memory linear in the keys: products in the inputs' dtype, logits and sums in fp32. Nothing
    synchronises.
    """
    if not key_frames or k.shape[1] % len(key_frames):
        raise ValueError(f"{k.shape[1]} keys do not divide into {len(key_frames)} frames")
    if rows is not None:
        q = q.index_select(1, rows.to(q.device, non_blocking=True))
    bins = [_bin_of(frame, current_start) for frame in key_frames]
    membership = _membership(bins, k)
    q, k = q.transpose(1, 2), k.transpose(1, 2)
    total = q.new_zeros(q.shape[0], q.shape[1], len(BINS), dtype=torch.float32)
    for heads, block in _blocks(q.shape, k.shape[2]):
        values = membership.expand(q.shape[0], heads.stop - heads.start, *membership.shape)
        mass = F.scaled_dot_product_attention(q[:, heads, block], k[:, heads], values)
        total[:, heads] += mass[..., : len(BINS)].float().sum(dim=2)
    # Half-precision back ends round the masses of a row, so that their sum is not the number of rows.
    return total / total.sum(dim=-1, keepdim=True)


def _bin_of(frame: int, current_start: int) -> int:
    if frame >= current_start:
        return 2
    return 0 if frame == 0 else 1


def _membership(bins: list[int], k: Tensor) -> Tensor:
    """One-hot bin of each key, [keys, width] in k's dtype.

    Width is k's head_dim, since fused kernels want values as wide as keys. Filled run by run: copying an
    index list to a GPU would wait for the stream.
    """
    tokens = k.shape[1] // len(bins)
    membership = k.new_zeros(k.shape[1], max(k.shape[3], len(BINS)))
    start = 0
    for index, run in groupby(bins):
        stop = start + tokens * len(list(run))
        membership[start:stop, index] = 1
        start = stop
    return membership


def _blocks(shape: torch.Size, keys: int) -> Iterator[tuple[slice, slice]]:
    """Slices of heads and of rows of q [batch, heads, rows, dim] within MAX_LOGITS; rows split last."""
    batch, heads, rows, _ = shape
    row_step = max(1, min(rows, MAX_LOGITS // (batch * keys)))
    head_step = max(1, MAX_LOGITS // (batch * keys * row_step))
    for head in range(0, heads, head_step):
        for row in range(0, rows, row_step):
            yield slice(head, min(head + head_step, heads)), slice(row, row + row_step)
