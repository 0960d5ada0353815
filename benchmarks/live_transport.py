"""How live chunks reach a browser: `OMP_NUM_THREADS=1 python benchmarks/live_transport.py`.

The same frames as fragmented MP4 (H.264, one file a chunk, so that it is whole when the chunk is) and as JPEG:
what encoding, carrying and showing them costs. Chunks of 12 frames, at the toy world's size and at 480p. The
picture is the toy world's, enlarged, with noise, or encoders would have nothing to do. Needs Node.js and Chromium.
"""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dummy_forcing.cli.report import environment
from dummy_forcing.core.media.frame_pack import encode_jpegs, pack
from dummy_forcing.core.media.frames import to_bytes
from dummy_forcing.core.world.render import render
from dummy_forcing.core.world.scene import draw_scenes

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "live_transport.json"
SIZES = ((96, 96), (480, 832))
CHUNK, CHUNKS, FPS = 12, 20, 16
NOISE = 2.5 / 255
KEPT = ("date", "versions", "machine")


def main() -> None:
    """Encode, play, write the results."""
    rows = []
    for height, width in SIZES:
        chunks = moving_picture(height, width).split(CHUNK)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            costs = {
                "mp4": encode(chunks, lambda frames: mp4(frames), folder, "mp4"),
                "jpeg": encode(chunks, lambda frames: pack(encode_jpegs(frames)), folder, "pack"),
            }
            command = ["node", str(ROOT / "tools/canvas/live_transport.mjs"), name, str(CHUNK)]
            shown = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for kind, cost in costs.items():
            rows.append({"size": [height, width], "kind": kind, **cost, **shown[kind]})
            print(rows[-1], flush=True)
    facts = environment([], torch.device("cpu"))
    kept = {name: facts[name] for name in KEPT}
    report = {"command": "python benchmarks/live_transport.py", **kept, "rows": rows}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


def moving_picture(height: int, width: int) -> Tensor:
    """uint8 [frames, height, width, 3]."""
    generator = torch.Generator().manual_seed(0)
    clean = render(draw_scenes(1, generator), torch.arange(CHUNK * CHUNKS).float())[0]
    large = [enlarge(frame, height, width) for frame in clean.split(1)]
    return torch.cat([to_bytes(frame + NOISE * torch.randn(frame.shape, generator=generator)) for frame in large])


def enlarge(frames: Tensor, height: int, width: int) -> Tensor:
    """Frames [T, h, w, 3] at another size."""
    return interpolate(frames.movedim(-1, 1).float(), (height, width), mode="bicubic").movedim(1, -1)


def encode(chunks: tuple[Tensor, ...], encoder: Callable[[Tensor], bytes], folder: Path, suffix: str) -> dict:
    """Writes a file for each chunk; the mean cost of a frame."""
    encoder(chunks[0])
    began, size = time.process_time(), 0
    for index, frames in enumerate(chunks):
        data = encoder(frames)
        size += len(data)
        (folder / f"{index}.{suffix}").write_bytes(data)
    count = sum(map(len, chunks))
    cost = {"encode_ms": (time.process_time() - began) * 1000 / count, "kib": size / 1024 / count}
    return {name: round(value, 3) for name, value in cost.items()}


def mp4(frames: Tensor) -> bytes:
    """The fastest H.264 there is in PyAV, which keeps no frame back."""
    file = io.BytesIO()
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(file, "w", format="mp4", options=options) as container:
        encoder = {"preset": "ultrafast", "crf": "20", "tune": "zerolatency"}
        stream = container.add_stream("libx264", rate=FPS, options=encoder)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.thread_count = 1
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels.numpy(), format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


if __name__ == "__main__":
    main()
