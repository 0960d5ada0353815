"""Line charts with Pillow, for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .drawing import blank, font

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_WIDTH, _HEIGHT = 900, 240  # pixels of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 190, 34, 34  # pixels around the plot; more on the right for long names
COLOURS = ((240, 120, 90), (110, 190, 250), (160, 220, 120), (230, 200, 90), (200, 150, 240), (150, 160, 170))
TEXT, GRID = (226, 230, 236), (60, 64, 72)
_FONT_SIZE = 14


@dataclass(frozen=True)
class Line:
    """A named line through points (x, y). colour: None takes the colour of its place in the panel."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Panel:
    """A titled plot. Lines of one place have the same colour in all panels. y_range: None for the common one."""

    title: str
    lines: tuple[Line, ...]
    y_range: tuple[float, float] | None = None


def draw_panels(panels: Sequence[Panel], x_label: str, y_range: tuple[float, float]) -> Image.Image:
    """Draw panels one below the other, on common axes except where a panel has its own y_range."""
    from PIL import ImageDraw

    named = max(font(_FONT_SIZE).getlength(line.name) for panel in panels for line in panel.lines)
    width = max(_WIDTH, _WIDTH - _RIGHT + 56 + round(named))
    picture = blank(width, _HEIGHT * len(panels))
    draw = ImageDraw.Draw(picture)
    x_end = max(x for panel in panels for line in panel.lines for x, _ in line.points)
    for index, panel in enumerate(panels):
        _draw_panel(draw, index * _HEIGHT, panel, x_label, x_end, y_range)
    return picture


def _draw_panel(
    draw: ImageDraw.ImageDraw, top: int, panel: Panel, x_label: str, x_end: float, y_range: tuple[float, float]
) -> None:
    text = font(_FONT_SIZE)
    right, bottom = _WIDTH - _RIGHT, top + _HEIGHT - _BOTTOM
    low, high = panel.y_range or y_range

    def place(x: float, y: float) -> tuple[float, float]:
        share = (min(max(y, low), high) - low) / (high - low)
        return _LEFT + x / x_end * (right - _LEFT), bottom - share * (bottom - top - _TOP)

    draw.text((_LEFT, top + _TOP - 8), panel.title, font=text, fill=TEXT, anchor="ls")
    draw.text((right, bottom + 8), f"{round(x_end, 2):g} {x_label}", font=text, fill=TEXT, anchor="rt")
    for step in range(5):
        value = low + step / 4 * (high - low)
        draw.line([place(0, value), place(x_end, value)], fill=GRID)
        draw.text((_LEFT - 8, place(0, value)[1]), f"{value:.2f}", font=text, fill=TEXT, anchor="rm")
    for step in range(1, 4):
        value = step / 4 * x_end
        draw.text((place(value, low)[0], bottom + 8), f"{round(value, 2):g}", font=text, fill=TEXT, anchor="mt")
    for number, line in enumerate(panel.lines):
        colour = line.colour or COLOURS[number % len(COLOURS)]
        draw.line([place(*point) for point in line.points], fill=colour, width=2, joint="curve")
        legend = top + _TOP + 10 + 22 * number
        draw.line([(right + 14, legend), (right + 34, legend)], fill=colour, width=3)
        draw.text((right + 42, legend), line.name, font=text, fill=TEXT, anchor="lm")
