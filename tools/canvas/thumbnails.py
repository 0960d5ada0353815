"""The pictures that ComfyUI's template browser shows for our workflows: workflows/NAME.jpg.

    ~/ComfyUI/.venv/bin/python tools/canvas/thumbnails.py [NAME...]

Of a workflow that needs no download the picture shows what a real run of its API twin made: frames of its videos,
or the head map. Of the others it is a screenshot of the graph. The browser's cards are square and crop nothing.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
COMFYUI = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "ComfyUI").expanduser()

MOST_BYTES = 200_000
TILE, GAP, LABEL = 192, 6, 30
BACKGROUND, INK = "#101010", "#d8d8d8"
WIDEST = 1400

# Titles of the nodes whose videos are shown, with their labels. One video fills a square, two get a half each.
VIDEOS = {
    "toy_world_streaming": {"Stream AR Video": ""},
    "toy_world_story": {"Stream AR Video": ""},
    "toy_world_light_forcing": {"Stream AR Video": ""},
    "toy_world_speed_and_memory": {
        "Stream AR Video: speed preset": "speed preset",
        "Stream AR Video: TempCache": "TempCache",
    },
    "toy_world_dense_vs_dummy_forcing": {
        "Stream AR Video: dense": "dense",
        "Stream AR Video: Dummy Forcing": "Dummy Forcing",
    },
    "toy_world_window_and_sampler": {
        "Stream AR Video": "Stream AR Video",
        "Save Video: sampler": "AR Streaming Sampler",
    },
}
PICTURES = {"toy_world_profile_heads": "Heat map"}


def main(names: list[str]) -> None:
    names = names or sorted(path.stem for path in WORKFLOWS.glob("*.json"))
    module = comfy_server()
    with tempfile.TemporaryDirectory() as folder, module.ComfyServer(COMFYUI, ROOT, Path(folder)) as server:
        for name in names:
            save(picture_of(name, server), WORKFLOWS / f"{name}.jpg")


def comfy_server():
    """The module of the tests that drives a server."""
    spec = importlib.util.spec_from_file_location("comfy_server", ROOT / "tests/host/server/comfy_server.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["comfy_server"] = module
    spec.loader.exec_module(module)
    return module


def picture_of(name: str, server) -> Image.Image:
    if name in VIDEOS:
        outputs = run(name, server)
        clips = [(label, read_frames(server.view(outputs[title]))) for title, label in VIDEOS[name].items()]
        return square(clips[0][1]) if len(clips) == 1 else columns(clips)
    if name in PICTURES:
        return on_square(Image.open(io.BytesIO(server.view(run(name, server)[PICTURES[name]]))))
    return screenshot(name, server.url)


def run(name: str, server) -> dict[str, dict]:
    """Run a workflow; the first file that each node shows, by the node's title."""
    prompt = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text("utf-8"))
    done = server.run(prompt, timeout=900)
    if done.status != "execution_success":
        raise RuntimeError(f"{name}: {done.status} {done.error}")
    shown = {
        prompt[node]["_meta"]["title"]: output.get("images") or output.get("video")
        for node, output in done.executed.items()
    }
    return {title: files[0] for title, files in shown.items() if files}


def read_frames(data: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def square(frames: list[Image.Image], side: int = 3) -> Image.Image:
    """Frames from the first to the last, row after row."""
    count = side * side
    chosen = [frames[index * (len(frames) - 1) // (count - 1)] for index in range(count)]
    return tiles([chosen[row * side : (row + 1) * side] for row in range(side)])


def columns(clips: list[tuple[str, list[Image.Image]]], rows: int = 4) -> Image.Image:
    """Each video in two columns under its label, the same moments beside each other."""
    count = 2 * rows
    chosen = [[frames[index * (len(frames) - 1) // (count - 1)] for index in range(count)] for _, frames in clips]
    grid = tiles([[frames[2 * row + column] for frames in chosen for column in (0, 1)] for row in range(rows)])
    picture = Image.new("RGB", (grid.width, grid.height + LABEL), BACKGROUND)
    picture.paste(grid, (0, LABEL))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(24)
    for index, (label, _) in enumerate(clips):
        draw.text(((2 * index + 1) * grid.width / (2 * len(clips)), LABEL / 2 + 2), label, INK, font, anchor="mm")
    return picture


def tiles(rows: list[list[Image.Image]]) -> Image.Image:
    width, height = (GAP + length * (TILE + GAP) for length in (len(rows[0]), len(rows)))
    picture = Image.new("RGB", (width, height), BACKGROUND)
    for top, row in enumerate(rows):
        for left, frame in enumerate(row):
            large = frame.resize((TILE, TILE), Image.Resampling.BICUBIC)
            picture.paste(large, (GAP + left * (TILE + GAP), GAP + top * (TILE + GAP)))
    return picture


def on_square(picture: Image.Image) -> Image.Image:
    """A picture of any shape in the middle of a square of its background."""
    picture = picture.convert("RGB")
    side = max(picture.size)
    canvas = Image.new("RGB", (side, side), picture.getpixel((0, 0)))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return canvas


def screenshot(name: str, url: str) -> Image.Image:
    """The graph without its notes, which are longer than a thumbnail can show."""
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    graph["nodes"] = [node for node in graph["nodes"] if node["type"] != "MarkdownNote"]
    with tempfile.TemporaryDirectory() as folder:
        source, picture = Path(folder) / f"{name}.json", Path(folder) / f"{name}.png"
        source.write_text(json.dumps(graph), "utf-8")
        script = ROOT / "tools/canvas/canvas_screenshots.mjs"
        subprocess.run(["node", str(script), url, str(picture), str(source)], check=True)
        with Image.open(picture) as image:
            image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
            return image.convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    for quality in range(92, 30, -6):
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=quality, optimize=True)
        if data.tell() <= MOST_BYTES:
            break
    path.write_bytes(data.getvalue())
    print(f"{path}: {picture.width} x {picture.height}, {data.tell()} bytes, quality {quality}")


if __name__ == "__main__":
    main(sys.argv[1:])
