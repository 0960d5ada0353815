"""What Light Forcing is going to do to a video, in words."""

from __future__ import annotations

from collections.abc import Sequence

from .config import MemoryConfig
from .keep import Allocation, KeepShape, allocations
from .light_forcing import LightForcing
from .retention import Retention

_MOST_SHOWN = 12


def describe_sparsity(config: MemoryConfig, shape: KeepShape, total_frames: int | None) -> str | None:
    """Its schedule for the heads that hold the most; None for a memory that selects nothing by it."""
    method = config.select
    if not isinstance(method, LightForcing):
        return None
    found = sparsity_by_chunk(config, shape, total_frames)
    if not any(found):
        return f"Light Forcing selects nothing here: {_why_nothing(method)}"
    passes = [
        name for name, dense in (("first", method.dense_first_pass), ("clean", method.dense_clean_pass)) if dense
    ]
    dense = f"; {' and '.join(passes)} passes read everything" if passes else ""
    part = " of the history" if method.keep_current else ""
    return f"Light Forcing, sparsity{part} per chunk: {_listed(found, total_frames is None)}{dense}"


def sparsity_by_chunk(config: MemoryConfig, shape: KeepShape, total_frames: int | None) -> list[float]:
    """Sparsity of a sparse pass, for the heads that hold the most; up to where it stays, for a stream without end.

    Heads whose roles are yet to be measured are taken for those that hold the most.
    """
    found: list[float] = []
    for clock, kept in allocations(config.keep.costliest(shape), shape):
        growth = config.select.growth(_longest(kept), shape, total_frames)
        found.append(growth.at(clock.end_frame) if growth and clock.chunk else 0.0)
        if clock.end_frame >= (total_frames or (growth.frames if growth else 0)):
            break
    return found


def _longest(kept: Sequence[Allocation]) -> Retention:
    retentions = (member.retention for layer in kept for member in layer)
    return max(retentions, key=lambda each: (each.last is None, each.first + (each.last or 0)))


def _why_nothing(method: LightForcing) -> str:
    if not method.sparsity:
        return "its sparsity is 0"
    return (
        f"no head holds more latent frames of history than keep frames ({method.keep_frames}), or there is one "
        "chunk; use a longer window or local context, or fewer keep frames"
    )


def _listed(values: Sequence[float], endless: bool) -> str:
    shown = [f"{value:.3f}".rstrip("0").rstrip(".") for value in values]
    if len(shown) > _MOST_SHOWN:
        shown[_MOST_SHOWN // 2 : -2] = ["..."]
    return ", ".join(shown) + (", then the same" if endless else "")
