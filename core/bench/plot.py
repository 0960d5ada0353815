"""The picture that explains the project: what a chunk costs as the video gets longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import DummyForcingError
from ..media.chart import Line, Panel, draw_panels
from .rows import ChunkFigures, Row
from .typed_memories import DENSE

if TYPE_CHECKING:
    from PIL import Image

_HEADROOM = 1.05


def check_plottable(lengths: Sequence[int], clip: bool) -> None:
    """Raise DummyForcingError if the plot would have only one point."""
    if not clip and len(lengths) < 2:
        raise DummyForcingError("a plot needs several lengths; give --lengths 3 9 15 21, for example, or --clip")


def draw_costs(rows: Sequence[Row], title: str) -> Image.Image:
    """Time per chunk and KV memory over the length so far; 1 is dense at the end or, without dense, the most.

    Other programs' rows are left out, since they have no figures for single chunks.
    """
    points = _points_by_policy(rows)
    panels = []
    for name, heading in (("seconds", "time per chunk"), ("kv_bytes", "KV memory")):
        unit = _unit(points, name)
        lines = tuple(
            Line(policy, tuple((each.latent_frames, getattr(each, name) / unit) for each in found))
            for policy, found in points.items()
        )
        panels.append(Panel(f"{heading}, {_unit_words(points)} = 1; {title}", lines))
    top = max(y for panel in panels for line in panel.lines for _, y in line.points)
    return draw_panels(panels, "latent frames", (0.0, _HEADROOM * top))


def _points_by_policy(rows: Sequence[Row]) -> dict[str, list[ChunkFigures]]:
    points: dict[str, list[ChunkFigures]] = {}
    for row in rows:
        if row.key_frames is not None:
            points.setdefault(row.policy, []).extend(row.chunks)
    return {name: sorted(found, key=lambda each: each.chunk) for name, found in points.items()}


def _unit(points: dict[str, list[ChunkFigures]], name: str) -> float:
    if DENSE in points:
        return getattr(points[DENSE][-1], name)
    return max(getattr(each, name) for found in points.values() for each in found)


def _unit_words(points: dict[str, list[ChunkFigures]]) -> str:
    return "dense at the end" if DENSE in points else "the most"
