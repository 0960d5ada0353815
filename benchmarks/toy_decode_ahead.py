"""Decoding beside sampling on a CPU, on the toy world: `python benchmarks/toy_decode_ahead.py`.

The same video with each chunk decoded and written before the next begins, and with a thread that does it meanwhile.
They take turns; what counts is the ratio of the medians. Writes benchmarks/results/toy_decode_ahead.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch

from dummy_forcing.cli import run_video as run
from dummy_forcing.core.decoders.decode_ahead import DecodeAhead
from dummy_forcing.core.media.video_file import VideoWriter
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.vocabulary import EXAMPLE, embed_prompt

RESULT = Path(__file__).parent / "results" / "toy_decode_ahead.json"


def seconds(model, job: run.VideoJob, overlap: bool, folder: str) -> float:
    """Wall time of one video, file included."""
    run.DecodeAhead = partial(DecodeAhead, overlap=overlap)
    started = time.perf_counter()
    with VideoWriter(Path(folder) / "video.mp4", 16) as video:
        run.run_video(model, job, sink=video.write, finish=video.finish)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latents", type=int, default=21)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    model, load = open_toy_world(), os.getloadavg()
    job = run.VideoJob("toy", embed_prompt(EXAMPLE), model.stream_config(options.latents, MemoryConfig()), seed=0)
    taken: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        seconds(model, job, False, folder)  # what PyTorch does once a process
        for _ in range(options.repeats):
            for overlap, found in taken.items():
                found.append(seconds(model, job, overlap, folder))
    result = {
        **vars(options),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "load_average": load,
        "load_average_after": os.getloadavg(),
        "seconds_in_turn": taken[False],
        "seconds_overlapped": taken[True],
        "overlapped_is_faster_by": median(taken[False]) / median(taken[True]),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
