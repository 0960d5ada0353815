"""A picture of a head profile: one cell per head, coloured by role and shaded by attention mass."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import DummyForcingError
from .roles import HeadRole, count_roles

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK, _FAINT = "#FFFFFF", "#1A1A1A", "#6B6B6B"
# The mass that shades a cell lies in this bin of `score.BINS`.
_BIN = {HeadRole.SINK: 0, HeadRole.NEIGHBOR: 1, HeadRole.DUMMY: 2}
_SHADE = {
    HeadRole.SINK: "mass on frame 0",
    HeadRole.NEIGHBOR: "mass on history",
    HeadRole.DUMMY: "mass on own chunk",
}
_MARGIN, _LEFT, _TOP, _BOTTOM, _LEGEND = 24, 52, 58, 46, 216
_LEGEND_GAP, _LEGEND_HEIGHT = 28, 290
_PALEST = 0.14


@dataclass(frozen=True)
class _Layout:
    """Pixel geometry of a grid of layers x heads."""

    layers: int
    heads: int

    @property
    def cell(self) -> int:
        return max(18, min(72, 960 // max(self.layers, self.heads)))

    @property
    def numbered(self) -> bool:
        return self.cell >= 28

    @property
    def size(self) -> tuple[int, int]:
        height = max(self.layers * self.cell, _LEGEND_HEIGHT)
        width = self.heads * self.cell + _LEGEND
        return 2 * _MARGIN + _LEFT + width, 2 * _MARGIN + _TOP + height + _BOTTOM

    def corner(self, layer: int, head: int) -> tuple[int, int]:
        return _MARGIN + _LEFT + head * self.cell, _MARGIN + _TOP + layer * self.cell


def draw_heat_map(
    masses: Tensor, roles: Tensor, path: str | os.PathLike[str] | None = None, title: str = "Head roles"
) -> Image.Image:
    """Draw layers (down) x heads (across) as an RGB Pillow image and, with `path`, save it there.

    masses: fp32 [layers, heads, 3]; roles: int64 [layers, heads]. The colour is the role, the shade the mass
    on the bin that the role uses (a dummy: the current chunk), from 0 to the largest among heads of that
    role. Needs Pillow. Raises DummyForcingError when `path` cannot be written.
    """
    from PIL import Image, ImageDraw

    layout = _Layout(*roles.shape)
    image = Image.new("RGB", layout.size, _PAPER)
    draw = ImageDraw.Draw(image)
    scales = _scales(masses, roles)
    _draw_cells(draw, layout, masses, roles, scales)
    _draw_axes(draw, layout)
    _draw_legend(draw, layout, roles, scales)
    _draw_title(draw, layout, title)
    if path is not None:
        _save(image, path)
    return image


def _scales(masses: Tensor, roles: Tensor) -> dict[HeadRole, float]:
    """Largest shading mass among the heads of each role, 0.0 where it has none."""
    scales = {}
    for role in HeadRole:
        used = masses[..., _BIN[role]][roles == role.value]
        scales[role] = float(used.max()) if used.numel() else 0.0
    return scales


def _draw_cells(
    draw: ImageDraw.ImageDraw, layout: _Layout, masses: Tensor, roles: Tensor, scales: dict[HeadRole, float]
) -> None:
    gap = 1 if layout.cell < 40 else 2
    font = _font(max(11, min(18, layout.cell // 3)))
    for layer, row in enumerate(roles.tolist()):
        for head, value in enumerate(row):
            role = HeadRole(value)
            mass = float(masses[layer, head, _BIN[role]])
            shade = _tint(role, mass / scales[role] if scales[role] else 0.0)
            x, y = layout.corner(layer, head)
            draw.rectangle((x, y, x + layout.cell - 1 - gap, y + layout.cell - 1 - gap), fill=shade)
            if layout.numbered:
                centre = (x + (layout.cell - gap) / 2, y + (layout.cell - gap) / 2)
                draw.text(centre, f"{100 * mass:.0f}", fill=_on(shade), font=font, anchor="mm")


def _draw_axes(draw: ImageDraw.ImageDraw, layout: _Layout) -> None:
    font, half = _font(13), layout.cell / 2
    for layer in range(0, layout.layers, _stride(layout.layers, layout.cell)):
        x, y = layout.corner(layer, 0)
        draw.text((x - 8, y + half), str(layer), fill=_FAINT, font=font, anchor="rm")
    for head in range(0, layout.heads, _stride(layout.heads, layout.cell)):
        x, y = layout.corner(layout.layers, head)
        draw.text((x + half, y + 6), str(head), fill=_FAINT, font=font, anchor="mt")
    x, y = layout.corner(layout.layers, 0)
    draw.text((x + layout.heads * half, y + 28), "head", fill=_INK, font=_font(15), anchor="mt")
    x, y = layout.corner(0, 0)
    _draw_upward(draw, (x - 48, y + int(layout.layers * half)), "layer")


def _draw_upward(draw: ImageDraw.ImageDraw, centre: tuple[int, int], text: str) -> None:
    """Text that reads from bottom to top, around `centre`."""
    from PIL import Image, ImageDraw

    font = _font(15)
    left, top, right, bottom = font.getbbox(text)
    label = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(label).text((1 - left, 1 - top), text, fill=255, font=font)
    label = label.rotate(90, expand=True)
    draw.bitmap((centre[0] - label.width // 2, centre[1] - label.height // 2), label, fill=_INK)


def _draw_legend(draw: ImageDraw.ImageDraw, layout: _Layout, roles: Tensor, scales: dict[HeadRole, float]) -> None:
    x, y = layout.corner(0, layout.heads)
    x += _LEGEND_GAP
    for role in HeadRole:
        _draw_legend_entry(draw, (x, y), role, roles, scales[role])
        y += 88
    if layout.numbered:
        draw.text((x, y), "numbers: that mass in %", fill=_FAINT, font=_font(12))


def _draw_legend_entry(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], role: HeadRole, roles: Tensor, scale: float
) -> None:
    (x, y), bar = corner, _LEGEND - _LEGEND_GAP
    count, small = count_roles(roles)[role.label], _font(12)
    share = f"{count} of {roles.numel()}, {100 * count / max(1, roles.numel()):.0f} %"
    draw.text((x, y), role.label, fill=_INK, font=_font(17))
    draw.text((x + bar, y + 3), share, fill=_FAINT, font=_font(13), anchor="ra")
    for step in range(bar):
        draw.line((x + step, y + 26, x + step, y + 40), fill=_tint(role, step / (bar - 1)))
    if count:
        draw.text((x, y + 45), "0", fill=_FAINT, font=small)
        draw.text((x + bar / 2, y + 45), _SHADE[role], fill=_FAINT, font=small, anchor="ma")
        draw.text((x + bar, y + 45), f"{100 * scale:.0f} %", fill=_FAINT, font=small, anchor="ra")


def _draw_title(draw: ImageDraw.ImageDraw, layout: _Layout, title: str) -> None:
    font, room = _font(20), layout.size[0] - 2 * _MARGIN
    title = " ".join(title.split())
    if draw.textlength(title, font=font) > room:
        while title and draw.textlength(title + "...", font=font) > room:
            title = title[:-1]
        title = title.rstrip() + "..."
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=font)


def _stride(count: int, cell: int) -> int:
    """Label every cell if there are few and they have room, else every fifth."""
    return 1 if cell >= 28 and count <= 16 else 5


def _tint(role: HeadRole, strength: float) -> tuple[int, int, int]:
    """The role's colour at `strength` 0..1; never so pale that the role is lost."""
    from PIL import ImageColor

    part = _PALEST + (1 - _PALEST) * max(0.0, min(1.0, strength))
    return tuple(round(255 + (channel - 255) * part) for channel in ImageColor.getrgb(role.colour))


def _on(shade: tuple[int, int, int]) -> str:
    """The ink or the paper colour, whichever is readable on `shade`."""
    luma = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2]
    return _INK if luma > 140 else _PAPER


def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _save(image: Image.Image, path: str | os.PathLike[str]) -> None:
    try:
        image.save(path)
    except (OSError, ValueError) as error:
        raise DummyForcingError(
            f"Cannot write heat map {path} ({error}); give a .png file in a folder you can write to."
        ) from error
