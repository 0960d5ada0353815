"""Light Forcing's schedule for a video, in words."""

from __future__ import annotations

from collections.abc import Sequence

from ...memory.keep import Allocation, allocations
from ...memory.retention import Retention
from ...memory_config import MemoryConfig
from ...video import VideoShape
from . import LightForcing

_MOST_SHOWN = 12


def describe_sparsity(config: MemoryConfig, video: VideoShape) -> str:
    """Its schedule for the heads that hold the most."""
    method = config.select
    found = sparsity_by_chunk(config, video)
    if not any(found):
        return f"Light Forcing selects nothing here: {_why_nothing(method)}"
    passes = [
        name for name, dense in (("first", method.dense_first_pass), ("clean", method.dense_clean_pass)) if dense
    ]
    dense = f"; {' and '.join(passes)} passes read everything" if passes else ""
    part = " of the history" if method.keep_current else ""
    return f"Light Forcing, sparsity{part} per chunk: {_listed(found, video.total_frames is None)}{dense}"


def sparsity_by_chunk(config: MemoryConfig, video: VideoShape) -> list[float]:
    """Sparsity of a sparse pass, for the heads that hold the most; up to where it stays, for a stream without end.

    Heads whose roles have not been measured yet count as those that hold the most.
    """
    found: list[float] = []
    for clock, kept in allocations(config.keep.upper_bound(video).begin(video)):
        growth = config.select.growth(_longest(kept), video)
        found.append(growth.at(clock.end_frame) if growth and clock.chunk else 0.0)
        if clock.end_frame >= (video.total_frames or (growth.frames if growth else 0)):
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
