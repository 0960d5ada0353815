"""Text on pictures with Pillow, which is imported when the first picture is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import DummyForcingError

if TYPE_CHECKING:
    from PIL import Image, ImageFont

BACKGROUND = (18, 20, 24)
_TEXT = (226, 230, 236)
_SMALLEST = 9
_LARGEST = 28
_ELLIPSIS = "..."


def blank(width: int, height: int) -> Image.Image:
    """A dark picture."""
    return _pillow().Image.new("RGB", (width, height), BACKGROUND)


def label_strip(labels: Sequence[str], widths: Sequence[int], gap: int) -> Tensor:
    """uint8 [strip height, sum of widths and gaps, 3]: each label centred over its column.

    All labels have one font size: a tenth of the narrowest column, or as little as two thirds of that to fit the
    longest label. A label that is still too long is cut short. The strip's height follows from `widths` alone.
    """
    labels = [" ".join(label.split()) for label in labels]
    largest = _font_size(min(widths) // 10)
    common = _common_font(labels, widths, largest)
    height = sum(font(largest).getmetrics()) + 2 * gap
    strip = blank(sum(widths) + gap * (len(widths) + 1), height)
    draw = _pillow().ImageDraw.Draw(strip)
    left = gap
    for label, width in zip(labels, widths, strict=True):
        text = _cut(label, common, width)
        indent = (width - common.getlength(text)) / 2
        draw.text((left + round(indent), height // 2), text, font=common, fill=_TEXT, anchor="lm")
        left += width + gap
    return pixels_of(strip)


def _pillow():
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError as error:
        raise DummyForcingError(f"drawing pictures needs Pillow ({error}); run: pip install pillow") from error
    return PIL


def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font at a size in pixels."""
    return _pillow().ImageFont.load_default(size=size)


def _common_font(labels: Sequence[str], widths: Sequence[int], largest: int) -> ImageFont.FreeTypeFont:
    smallest = _font_size(2 * largest // 3)
    for size in range(largest, smallest, -1):
        tried = font(size)
        if all(tried.getlength(label) <= width for label, width in zip(labels, widths, strict=True)):
            return tried
    return font(smallest)


def _font_size(wanted: int) -> int:
    return max(_SMALLEST, min(_LARGEST, wanted))


def _cut(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(label) <= width:
        return label
    for kept in range(len(label) - 1, 0, -1):
        text = label[:kept].rstrip() + _ELLIPSIS
        if font.getlength(text) <= width:
            return text
    return ""


def pixels_of(image: Image.Image) -> Tensor:
    """A picture as uint8 [height, width, 3]."""
    # bytearray: torch warns about read-only memory, which is what Pillow's own buffer would be.
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.reshape(image.height, image.width, 3)
