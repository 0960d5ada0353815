"""Draws the icon and the banner of the ComfyUI registry: `.venv/bin/python tools/registry_pictures.py`.

Both show a map of attention heads, a cell each: sink and neighbor heads in colour, dummy heads dark.
"""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
ICON = (400, 400)  # the registry takes squares up to this size
BANNER = (1260, 540)  # 21:9

BACKGROUND = (17, 19, 26)
SINK, NEIGHBOR, DUMMY = (250, 178, 60), (74, 163, 255), (43, 48, 62)
TEXT, FAINT = (240, 242, 247), (150, 158, 176)
SMOOTH = 4  # drawn so many times larger, then scaled down

ICON_MAP = (
    "NDSND",
    "DNNDS",
    "SNDNN",
    "DDNSD",
    "NSDND",
)
"""Roles by row: S sink, N neighbor, D dummy."""


class Canvas:
    """A picture drawn at `SMOOTH` times its size, in coordinates of the size that it will have."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self.picture = Image.new("RGB", [SMOOTH * side for side in size], BACKGROUND)
        self._draw = ImageDraw.Draw(self.picture)

    def cell(self, x: float, y: float, side: float, colour: tuple[int, int, int]) -> None:
        box = [SMOOTH * value for value in (x, y, x + side, y + side)]
        self._draw.rounded_rectangle(box, radius=SMOOTH * side * 0.24, fill=colour)

    def text(self, x: float, y: float, text: str, height: float, colour: tuple[int, int, int]) -> None:
        font = ImageFont.load_default(SMOOTH * height)
        self._draw.text((SMOOTH * x, SMOOTH * y), text, fill=colour, font=font)

    def save(self, name: str) -> None:
        self.picture.resize(self.size, Image.Resampling.LANCZOS).save(IMAGES / name, optimize=True)


def shade(colour: tuple[int, int, int], strength: float) -> tuple[int, ...]:
    """A colour over the background; 1 is the colour itself."""
    pairs = zip(colour, BACKGROUND, strict=True)
    return tuple(round(strength * above + (1 - strength) * below) for above, below in pairs)


def draw_icon() -> None:
    canvas, colours = Canvas(ICON), {"S": SINK, "N": NEIGHBOR, "D": DUMMY}
    margin, gap = 34, 12
    side = (ICON[0] - 2 * margin - 4 * gap) / 5
    for row, roles in enumerate(ICON_MAP):
        for column, role in enumerate(roles):
            canvas.cell(margin + column * (side + gap), margin + row * (side + gap), side, colours[role])
    canvas.save("icon.png")


def draw_banner() -> None:
    """The name on the left; on the right 30 layers x 12 heads, as Wan 1.3B has them, half of them dummy."""
    canvas, chance = Canvas(BANNER), random.Random(12)
    side, gap, columns, rows = 16, 6, 30, 12
    left, top = BANNER[0] - 40 - columns * (side + gap) + gap, (BANNER[1] - rows * (side + gap) + gap) / 2
    roles = [SINK] * 76 + [NEIGHBOR] * 104 + [DUMMY] * 180
    chance.shuffle(roles)
    for index, colour in enumerate(roles):
        column, row = index % columns, index // columns
        strength = 1 if colour == DUMMY else chance.uniform(0.55, 1)
        canvas.cell(left + column * (side + gap), top + row * (side + gap), side, shade(colour, strength))
    canvas.text(56, 118, "Dummy", 82, TEXT)
    canvas.text(56, 204, "Forcing", 82, TEXT)
    canvas.text(60, 324, "Streaming video diffusion", 27, FAINT)
    canvas.text(60, 364, "at flat memory, without training", 27, FAINT)
    canvas.save("banner.png")


if __name__ == "__main__":
    draw_icon()
    draw_banner()
