"""Bars side by side with Pillow, for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .chart import COLOURS, GRID, TEXT
from .drawing import BACKGROUND, blank, font

if TYPE_CHECKING:
    from PIL import Image

_FONT_SIZE = 14
_BAR, _GAP, _MARGIN, _INDENT = 20, 4, 18, 8  # pixels
_LEFT, _RIGHT = 52, 190  # around the bars, as the charts have it


@dataclass(frozen=True)
class Bar:
    """A named value >= 0 and how it is written."""

    name: str
    value: float
    text: str


@dataclass(frozen=True)
class BarGroup:
    """Bars of one scale under a title; those of the same place have the same colour in all groups."""

    title: str
    bars: tuple[Bar, ...]
    note: str = ""
    """Beside the bars."""


def draw_bars(groups: Sequence[BarGroup], width: int) -> Image.Image:
    """Groups one below the other."""
    from PIL import ImageDraw

    heights = [_MARGIN + 24 + len(group.bars) * (_BAR + _GAP) for group in groups]
    picture = blank(width, sum(heights) + _MARGIN)
    draw, text, top = ImageDraw.Draw(picture), font(_FONT_SIZE), _MARGIN
    for group, height in zip(groups, heights, strict=True):
        draw.text((_LEFT, top + 12), group.title, font=text, fill=TEXT, anchor="ls")
        most, end = max(bar.value for bar in group.bars) or 1.0, width - _RIGHT
        for index, bar in enumerate(group.bars):
            y = top + 24 + index * (_BAR + _GAP)
            length = round(bar.value / most * (end - _LEFT))
            draw.rectangle([_LEFT, y, end, y + _BAR], fill=GRID)
            draw.rectangle([_LEFT, y, _LEFT + max(1, length), y + _BAR], fill=COLOURS[index % len(COLOURS)])
            inside = text.getlength(bar.name) + 2 * _INDENT < length
            start = (_LEFT if inside else _LEFT + length) + _INDENT
            draw.text((start, y + _BAR / 2), bar.name, font=text, fill=BACKGROUND if inside else TEXT, anchor="lm")
            draw.text((end + 14, y + _BAR / 2), bar.text, font=text, fill=TEXT, anchor="lm")
        if group.note:
            draw.text((end, top + 12), group.note, font=text, fill=TEXT, anchor="rs")
        top += height
    return picture
