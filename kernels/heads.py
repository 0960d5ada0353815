"""Some heads of a tensor, as an index that neither copies where a view does nor waits for the device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=1024)
def head_index(heads: tuple[int, ...], device: torch.device) -> slice | Tensor:
    """Evenly spaced heads as a slice, others as a tensor, which is kept: copying a list to a device is a wait.

    Use it as `x[:, :, head_index(heads, x.device)]`.
    """
    step = heads[1] - heads[0] if len(heads) > 1 else 1
    if step > 0 and heads == tuple(range(heads[0], heads[-1] + 1, step)):
        return slice(heads[0], heads[-1] + 1, step)
    with torch.inference_mode(False):
        return torch.tensor(heads, dtype=torch.int64, device=device)
