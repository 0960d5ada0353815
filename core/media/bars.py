"""Bars side by side with Pillow, for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .chart import COLOURS, GRID, TEXT
from .drawing import BACKGROUND, blank, font

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_FONT_SIZE = 14
_TITLE, _BAR, _GAP, _MARGIN, _INDENT = 24, 20, 4, 18, 8  # pixels
_LEFT, _RIGHT = 52, 190  # pixels beside the bars, as in the charts


@dataclass(frozen=True)
class Bar:
    """A named value >= 0 and how it is written."""

    name: str
    value: float
    text: str


@dataclass(frozen=True)
class BarGroup:
    """Bars on one scale under a title; None is a missing bar. A place has the same colour in all groups."""

    title: str
    bars: tuple[Bar | None, ...]
    note: str = ""
    """Shown at the right end of the title's line."""


def draw_bars(groups: Sequence[BarGroup], width: int) -> Image.Image:
    """Draw groups, one below the other; each has at least one bar."""
    from PIL import ImageDraw

    heights = [_MARGIN + _TITLE + sum(map(bool, group.bars)) * (_BAR + _GAP) for group in groups]
    picture = blank(width, sum(heights) + _MARGIN)
    draw, text, top, end = ImageDraw.Draw(picture), font(_FONT_SIZE), _MARGIN, width - _RIGHT
    for group, height in zip(groups, heights, strict=True):
        draw.text((_LEFT, top + _TITLE / 2), group.title, font=text, fill=TEXT, anchor="ls")
        draw.text((end, top + _TITLE / 2), group.note, font=text, fill=TEXT, anchor="rs")
        most, y = max(bar.value for bar in group.bars if bar), top + _TITLE
        for bar, colour in zip(group.bars, COLOURS, strict=False):
            if bar is not None:
                _draw_bar(draw, y, end, bar, bar.value / (most or 1), colour)
                y += _BAR + _GAP
        top += height
    return picture


def _draw_bar(
    draw: ImageDraw.ImageDraw, y: int, end: int, bar: Bar, share: float, colour: tuple[int, int, int]
) -> None:
    """Draw a bar with its name inside, or to the right of a bar that is too short for it."""
    text, middle, length = font(_FONT_SIZE), y + _BAR / 2, round(share * (end - _LEFT))
    draw.rectangle([_LEFT, y, end, y + _BAR], fill=GRID)
    draw.rectangle([_LEFT, y, _LEFT + max(1, length), y + _BAR], fill=colour)
    inside = text.getlength(bar.name) + 2 * _INDENT < length
    start, ink = (_LEFT, BACKGROUND) if inside else (_LEFT + length, TEXT)
    draw.text((start + _INDENT, middle), bar.name, font=text, fill=ink, anchor="lm")
    draw.text((end + 14, middle), bar.text, font=text, fill=TEXT, anchor="lm")
