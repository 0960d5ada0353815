"""Makes README's pictures from the demo's output and from nodes on ComfyUI's canvas.

    make demo
    ~/ComfyUI/.venv/bin/python tests/host/server/comfy_server.py \\
        node tools/canvas/node_pictures.mjs {url} out/nodes workflows/toy_world_dense_vs_dummy_forcing.json \\
        "Dummy Forcing Patch" "Stream AR Video: Dummy Forcing" "Compare Videos"
    .venv/bin/python tools/readme_pictures.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image

from dummy_forcing.core.media.compose import side_by_side
from dummy_forcing.core.media.video_file import read_video

ROOT = Path(__file__).resolve().parent.parent
DEMO, NODES, PICTURES = ROOT / "out" / "demo", ROOT / "out" / "nodes", ROOT / "docs" / "images"
TITLES = ("Dummy Forcing Patch", "Stream AR Video: Dummy Forcing", "Compare Videos")
GROUND, GAP = "#15161a", 20
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


def node_row() -> Image.Image:
    """Pictures of nodes beside each other."""
    nodes = [Image.open(NODES / f"{title}.png") for title in TITLES]
    width = sum(node.width + GAP for node in nodes) + GAP
    row = Image.new("RGB", (width, max(node.height for node in nodes) + 2 * GAP), GROUND)
    left = GAP
    for node in nodes:
        row.paste(node, (left, GAP))
        left += node.width + GAP
    return row


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = torch.cat([film_strip(*row) for row in ROWS])
    Image.fromarray((picture * 255).round().byte().numpy()).save(PICTURES / "side_by_side.png", optimize=True)
    shutil.copy(DEMO / "heads.png", PICTURES / "heads.png")
    node_row().save(PICTURES / "nodes.png", optimize=True)


if __name__ == "__main__":
    main()
