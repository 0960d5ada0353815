"""A decoded frame as a tensor: upright, and with the colours that the file specifies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# FFmpeg's codes. By default it converts to RGB fast and inexactly: 10-bit white comes out as 253, and 8-bit green
# is off by up to two levels.
_EXACT = 0x2 | 0x2000 | 0x40000  # bilinear, colours at full resolution, accurate rounding
_LIMITED, _FULL = 1, 2
_BT709, _BT601 = 1, 5


def pixels_of(frame: Any, width: int, height: int) -> Tensor:
    """A PyAV frame as uint8 [height, width, 3] RGB, turned as its display matrix says (which may swap the sides).

    width, height: of the stream; in a file whose frames change size, all are scaled to it.
    """
    options = {"width": width, "height": height, "format": "rgb24", "interpolation": _EXACT}
    pixels = torch.from_numpy(frame.reformat(**options, **_colours(frame)).to_ndarray())
    turns = round(getattr(frame, "rotation", 0) / 90)  # PyAV before 14.1 does not have it
    return torch.rot90(pixels, turns).contiguous() if turns % 4 else pixels


def _colours(frame: Any) -> dict[str, int]:
    """Matrix and range of a YUV frame, passed explicitly: PyAV before 17 ignores those that the frame has."""
    kind = frame.format
    if kind.is_rgb or kind.has_palette or kind.name.startswith(("gray", "ya", "mono")):
        return {}
    full = frame.color_range == _FULL or kind.name.startswith("yuvj")
    return {
        "src_colorspace": frame.colorspace,
        # Has no effect on RGB, but PyAV before 17 ignores all four where source and target are the same.
        "dst_colorspace": _BT709 if frame.colorspace == _BT601 else _BT601,
        "src_color_range": _FULL if full else _LIMITED,
        "dst_color_range": _FULL,
    }
