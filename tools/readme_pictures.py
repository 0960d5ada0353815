"""Makes README's pictures from the demo's output: `make demo && .venv/bin/python tools/readme_pictures.py`."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image

from dummy_forcing.core.media.compose import side_by_side
from dummy_forcing.core.media.video import read_video

ROOT = Path(__file__).resolve().parent.parent
DEMO, PICTURES = ROOT / "out" / "demo", ROOT / "docs" / "images"
FRAMES = (0, 10, 20, 30, 50, 60, 70, 80)
ROWS = (
    ("dense.mp4", "dense: all heads read everything"),
    ("dummy_forcing.mp4", "Dummy Forcing: half of the heads are dummy heads"),
)


def film_strip(name: str, label: str) -> torch.Tensor:
    """Chosen frames of a video in a row, under a label: [height, width, 3] in [0, 1]."""
    frames, _ = read_video(DEMO / name)
    strip = torch.cat([frames[index] for index in FRAMES], dim=1).float() / 255
    return side_by_side([strip[None]], [label])[0]


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = torch.cat([film_strip(*row) for row in ROWS])
    Image.fromarray((picture * 255).round().byte().numpy()).save(PICTURES / "side_by_side.png", optimize=True)
    shutil.copy(DEMO / "heads.png", PICTURES / "heads.png")


if __name__ == "__main__":
    main()
