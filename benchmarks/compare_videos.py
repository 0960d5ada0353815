"""Memory of a comparison over its length: `OMP_NUM_THREADS=1 python benchmarks/compare_videos.py`.

Two files of an hour at 16 frames a second, 96 x 96, are read, paired and measured as Compare Videos does it, and
the process is looked at on the way; freed memory goes back to the system first.
"""

from __future__ import annotations

import ctypes
import gc
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from dummy_forcing.cli.report import environment
from dummy_forcing.core.bench.resources import process_bytes
from dummy_forcing.core.media.clip_quality import QualityMeter
from dummy_forcing.core.media.clips import Pairs
from dummy_forcing.core.media.file_clip import FileClip
from dummy_forcing.core.media.video_file import VideoWriter

RESULTS = Path(__file__).parent / "results" / "compare_videos.json"
RATE = 16
HOUR = 3600 * RATE
LOOKED_AT = (1008, 10_000, HOUR)  # whole pieces of 16
SIDE = 96
KEPT = ("date", "versions", "machine")


def main() -> None:
    """Write the files, compare them, write the results."""
    with tempfile.TemporaryDirectory() as folder:
        files = [write(Path(folder) / f"{crf}.mp4", crf) for crf in (18, 35)]
        rows = list(watched(*files))
    facts = environment([], torch.device("cpu"))
    report = {"command": "python benchmarks/compare_videos.py", **{name: facts[name] for name in KEPT}}
    RESULTS.write_text(json.dumps(report | {"rows": rows}, indent=2) + "\n")


def write(path: Path, crf: int) -> Path:
    """A wave that moves."""
    places = torch.arange(SIDE) / SIDE
    wave = 20 * (places[:, None] * places)[..., None] + torch.tensor([0.0, 2.0, 4.0])
    with VideoWriter(path, RATE, crf=crf) as video:
        for frames in torch.arange(HOUR).split(RATE):
            video.write(0.5 + 0.5 * torch.sin(wave + frames.view(-1, 1, 1, 1) / 10))
    return path


def watched(a: Path, b: Path) -> Iterator[dict]:
    """Compare two files; what the process holds after so many frames."""
    meter = QualityMeter()
    for one, other in Pairs(FileClip(a), FileClip(b)):
        meter.add(one, other)
        if (frames := meter.quality.frames) in LOOKED_AT:
            del one, other
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            found = {"frames": frames, "process_bytes": process_bytes()}
            print(found, flush=True)
            yield found | {"points": len(meter.quality.psnr_curve)}


if __name__ == "__main__":
    main()
