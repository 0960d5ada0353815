"""How stable the set of dummy heads is across prompts, chunks and timesteps.

The core-set study of Dummy Forcing, arXiv 2601.20499.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .forced import ForcedRoles
from .programming import Cost, program_heads
from .roles import HeadRole

_AXES = {"prompts": 0, "chunks": 1, "timesteps": 2}


def core_set_ratio(role_sets: Sequence[Tensor]) -> float:
    """Share of a dummy set that all sets have in common: |intersection| / mean |dummy set|, 0..1.

    role_sets: int64 [layers, heads] each, at least one. 1.0 when no set has a dummy.
    """
    if not len(role_sets):
        raise ValueError("no role sets to compare")
    dummies = torch.stack([roles == HeadRole.DUMMY.value for roles in role_sets])
    total = int(dummies.sum())
    return int(dummies.all(dim=0).sum()) * len(role_sets) / total if total else 1.0


def stability(
    samples: Tensor, dummy_ratio: float, cost: Cost = "normalised", forced: ForcedRoles = ()
) -> dict[str, float]:
    """Core-set ratio along each axis of a profile's samples, keyed "prompts", "chunks", "timesteps".

    samples: fp32 [prompts x seeds, chunks, passes, layers, heads, 3]. samples[:, c] holds chunk index c + 1,
    since chunk 0 has no history to score; the last pass is the clean pass. For one axis, the masses are
    averaged over the other two and heads are programmed once per index of that axis. An axis of length 1
    gives 1.0, which says nothing. Raises DummyForcingError as `program_heads` does.
    """
    if samples.ndim != 6:
        raise ValueError(f"samples must have 6 axes, got {list(samples.shape)}")
    ratios = {}
    for name, axis in _AXES.items():
        others = [other for other in _AXES.values() if other != axis]
        masses = samples.double().mean(dim=others)
        ratios[name] = core_set_ratio([program_heads(each, dummy_ratio, cost, forced) for each in masses])
    return ratios
