"""Dynamic head programming: which heads become dummies, over all layers at once.

Dummy Forcing, arXiv 2601.20499, section 3.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .forced import ForcedRoles, force_roles
from .roles import Cost, HeadRole


def program_heads(
    masses: Tensor, dummy_ratio: float, cost: Cost = "normalised", forced: ForcedRoles = ()
) -> Tensor:
    """Give every head a role: int64 [layers, heads] on the CPU, values of `HeadRole`.

    masses: [layers, heads, 3], the mass on (frame 0, other history, current chunk) from `attention_mass`. The
    round(dummy_ratio * layers * heads) heads that lose least without history, at cost max(first, history), become
    dummies; each of the others becomes a sink or a neighbor head, after the larger of the two masses. With cost
    "paper" this greedy choice maximises the paper's objective: the sum over heads of the mass that each keeps under
    its role. Cost "normalised" first divides the two masses by their sums over all heads, as the authors'
    repository does (the formula in the paper does not). Among equal costs the lower layer, then the lower head
    becomes a dummy.

    Heads in `forced` have these roles in any case. They count in the sums and towards the number of dummies: of the
    others only as many become dummies as are still missing.

    Raises DummyForcingError for a ratio outside 0..1, an unknown cost, masses that are not finite, or a forced head
    that does not exist.
    """
    _check(masses, dummy_ratio, cost)
    # fp64 on the CPU: the same masses give the same roles whatever device they come from.
    first, history = masses.detach().double().cpu()[..., :2].unbind(-1)
    if cost == "normalised":
        first, history = _share(first), _share(history)
    roles = force_roles(torch.where(first >= history, HeadRole.SINK.value, HeadRole.NEIGHBOR.value), forced)
    by_hand = {layer * roles.shape[1] + head for layer, head, _ in forced}
    order = torch.maximum(first, history).flatten().argsort(stable=True).tolist()
    left = round(dummy_ratio * roles.numel()) - sum(role == HeadRole.DUMMY for _, _, role in forced)
    roles.view(-1)[[index for index in order if index not in by_hand][: max(0, left)]] = HeadRole.DUMMY.value
    return roles


def _share(mass: Tensor) -> Tensor:
    total = mass.sum()
    return mass / total if total > 0 else torch.zeros_like(mass)


def _check(masses: Tensor, dummy_ratio: float, cost: str) -> None:
    if masses.ndim != 3 or masses.shape[-1] != 3:
        raise ValueError(f"masses must be [layers, heads, 3], got {list(masses.shape)}")
    if not 0.0 <= dummy_ratio <= 1.0:
        raise DummyForcingError(f"The ratio of dummy heads is {dummy_ratio}; give a number from 0 to 1.")
    if cost not in get_args(Cost):
        raise DummyForcingError(f"Unknown head cost {cost!r}; choose one of: {', '.join(get_args(Cost))}.")
    if not torch.isfinite(masses).all():
        raise DummyForcingError(
            "Head scores are not finite: the model overflowed while heads were scored; use bf16 or fp32 weights."
        )
