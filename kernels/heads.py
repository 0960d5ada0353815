"""Some heads of a tensor, without a copy where a view is enough and without waiting for the device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .device import numbers_on


@lru_cache(maxsize=1024)
def head_index(heads: tuple[int, ...], device: torch.device) -> slice | Tensor:
    """Evenly spaced heads as a slice, others as a tensor, which is kept: copying a list to a device takes time.

    Use it as `x[:, :, head_index(heads, x.device)]`.
    """
    runs = head_runs(heads)
    if len(runs) == 1:
        return runs[0][0]
    with torch.inference_mode(False):
        return numbers_on(heads, torch.int64, device)


@lru_cache(maxsize=1024)
def head_runs(heads: tuple[int, ...]) -> tuple[tuple[slice, slice], ...]:
    """Heads as a few evenly spaced runs: each run's slice of the layer, and of a tensor of just these heads."""
    runs, begin = [], 0
    while begin < len(heads):
        end = begin + 1
        step = heads[end] - heads[begin] if end < len(heads) else 1
        if step < 1:  # slices cannot go backwards
            step = 1
        while end < len(heads) and heads[end] - heads[end - 1] == step:
            end += 1
        runs.append((slice(heads[begin], heads[end - 1] + 1, step), slice(begin, end)))
        begin = end
    return tuple(runs)


def put_heads(out: Tensor, heads: tuple[int, ...], x: Tensor) -> None:
    """Write x [B, L, n, D] to the places of these n heads in out [B, L, H, D]; one kernel on a GPU."""
    index = head_index(heads, x.device)
    if isinstance(index, slice):
        out[:, :, index] = x
    elif x.device.type == "cpu":
        for there, here in head_runs(heads):
            out[:, :, there] = x[:, :, here]
    else:
        out.index_copy_(2, index, x)
