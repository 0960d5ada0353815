"""A world that goes on: 3,000 latent frames with changing prompts, `python benchmarks/toy_world_stream.py`.

Streams the toy world under several memories, each in a process of its own on one thread: dense as far as that is
bearable, a window, TempCache, and TempCache with ANN attention. Every chunk's CPU time, KV bytes and tokens held
are kept, as are the latents, in `--work`, so that a run can be interrupted and resumed stream by stream. Excerpts
of 20 latent frames are then decoded and scored against the prompt of their time. Writes
benchmarks/results/toy_world_stream.json and docs/images/toy_world_stream.png; `--report` with what there is so far.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import torch
import toy_finding
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.media.chart import Line, Panel, draw_panels
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnSA
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompts import PromptSchedule, ScheduledPrompt
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

if TYPE_CHECKING:
    from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
RESULTS, IMAGE = ROOT / "benchmarks/results/toy_world_stream.json", ROOT / "docs/images/toy_world_stream.png"

PROMPTS = (
    "a red circle moving right and a blue square moving left",
    "a magenta circle moving left and a green triangle moving up",
    "a yellow triangle moving left and a cyan circle moving down",
    "a cyan square moving right and a red triangle moving down",
    "a blue circle moving down and a yellow square moving left",
)
BUDGET = 10  # reached within 100 chunks; with the default of 21 a chunk's time grows until it is
# By default a chunk of these small frames is one block, and a history of fewer than 9 frames, as this budget leaves
# many heads, is not searched.
SEARCH = AnnSA(bits=4, share=0.5, block=16, min_frames=4)
MEMORIES = {
    "dense": MemoryConfig(),
    "window of 12, sink 3": MemoryConfig(Window(3, 12), Relative(21)),
    "TempCache": MemoryConfig(Dense(), merge=TempCache(budget=BUDGET)),
    "TempCache, newest values": MemoryConfig(Dense(), merge=TempCache(budget=BUDGET, values="newest")),
    "TempCache, newest values, AnnSA": MemoryConfig(
        Dense(), merge=TempCache(budget=BUDGET, values="newest"), select=SEARCH
    ),
}
DENSE = "dense"
BIN, EXCERPT, WARM_UP, OFFSET = 100, 20, 4, 40  # latent frames: see toy_long_stream.py
COMPARED = 60  # latent frames over which PSNR to dense is taken
FRAMES = 4  # video frames of a latent frame
SAVED, PART = 100, ".part"  # chunks after which a stream is saved, and the file's suffix until it is done


def prompt_at(frame: int, latents: int) -> int:
    """Which prompt a latent frame is made under; they take equal turns."""
    return frame * len(PROMPTS) // latents


def schedule(latents: int) -> PromptSchedule:
    """The later prompts; the default switch computes the newest 12 frames anew."""
    starts = [-(-latents * index // len(PROMPTS)) for index in range(1, len(PROMPTS))]
    later = [ScheduledPrompt(start, embed_prompt(p)) for start, p in zip(starts, PROMPTS[1:], strict=True)]
    return PromptSchedule(embed_prompt(PROMPTS[0]), later)


def file_of(name: str, work: Path) -> Path:
    """Where a stream's latents and costs are."""
    return work / f"{list(MEMORIES).index(name)}.safetensors"


def stream(name: str, length: int, latents: int, work: Path) -> None:
    """Make `length` frames of the stream of `latents`; what it cost goes into the file with them."""
    torch.set_num_threads(1)
    file = file_of(name, work)
    if file.exists():
        return
    model = open_toy_world()
    config = model.stream_config(length, MEMORIES[name])
    events = stream_video(
        model.backbone, embed_prompt(PROMPTS[0]), config, SeededNoise(0), prompts=schedule(latents)
    )
    chunks, made, started = [], [], time.process_time()
    for event in events:
        if isinstance(event, ChunkDone):
            now = time.process_time()
            chunks.append([round(now - started, 4), event.kv_bytes, round(event.history_frames, 3)])
            made.append(event.latents[0])
            if len(chunks) % SAVED == 0:
                save(made, chunks, file.with_suffix(PART))
                print(f"{name}: chunk {len(chunks)}, {chunks[-1]}", flush=True)
            started = time.process_time()
    save(made, chunks, file)


def save(made: Sequence[Tensor], chunks: list, file: Path) -> None:
    """Latents and costs so far; the file is always whole."""
    fresh = file.with_suffix(".new")
    save_file({"latents": torch.cat(list(made), dim=1)}, fresh, metadata={"chunks": json.dumps(chunks)})
    fresh.replace(file)


def found_file(name: str, work: Path) -> Path | None:
    """A stream that is done, or what there is of it."""
    done = file_of(name, work)
    files = (done, done.with_suffix(PART))
    return next((file for file in files if file.exists()), None)


def latents_of(name: str, begin: int, end: int, work: Path) -> Tensor:
    """Some frames of a stream [1, 16, F, h, w]."""
    with safe_open(found_file(name, work), "pt") as stored:
        return stored.get_slice("latents")[:, begin:end][None]


def score_bin(job: tuple[str, int], latents: int, work: Path) -> None:
    """Score the excerpt in the bin that begins at a frame."""
    torch.set_num_threads(1)
    name, start = job
    file = work / f"{list(MEMORIES).index(name)}-{start}.json"
    if file.exists():
        return
    begin = start + OFFSET
    decoder = StreamingDecoder(open_toy_world().vae)
    frames = decoder.decode(latents_of(name, begin - WARM_UP, begin + EXCERPT, work))[0][-FRAMES * EXCERPT :]
    found = score_video(frames, PROMPTS[prompt_at(begin, latents)], excerpt=True)
    file.write_text(json.dumps({"start": start, "score": found.total}))


def compare(name: str, work: Path) -> None:
    """PSNR to dense over the video of the first latent frames, in dB."""
    torch.set_num_threads(1)
    file = work / f"{list(MEMORIES).index(name)}-psnr.json"
    if file.exists() or name == DENSE or not found_file(DENSE, work):
        return
    vae = open_toy_world().vae
    ours, dense = (StreamingDecoder(vae).decode(latents_of(n, 0, COMPARED, work))[0] for n in (name, DENSE))
    file.write_text(json.dumps(psnr(ours, dense)))


def chunks_of(name: str, work: Path) -> list[list[float]]:
    """CPU seconds, KV bytes and frames' worth of history of every chunk."""
    with safe_open(found_file(name, work), "pt") as stored:
        return json.loads(stored.metadata()["chunks"])


def summarise(name: str, latents: int, work: Path) -> dict:
    """A memory's row; times are medians, so that chunks behind a change of prompt do not count."""
    chunks = chunks_of(name, work)
    seconds, sizes, held = zip(*chunks, strict=True)
    starts = range(0, 3 * len(chunks), BIN)
    files = [work / f"{list(MEMORIES).index(name)}-{start}.json" for start in starts]
    scores = [json.loads(file.read_text()) for file in files if file.exists()]
    same = work / f"{list(MEMORIES).index(name)}-psnr.json"
    return {
        "memory": name,
        "config": MEMORIES[name].to_dict(),
        "latents": 3 * len(chunks),
        "seconds_chunks_100_to_200": median(seconds[100:200]) if len(chunks) >= 200 else None,
        "seconds_last_100_chunks": median(seconds[-100:]),
        "kv_bytes_max": max(sizes),
        "kv_bytes_from_chunk_2_on": [min(sizes[2:]), max(sizes[2:])],
        "history_frames_last": held[-1],
        "density_last": (held[-2] + 3) / (3 * len(chunks)),
        "psnr_to_dense_first_60": json.loads(same.read_text()) if same.exists() else None,
        "score": fmean(each["score"] for each in scores) if scores else None,
        "scores": scores,
        "chunks": {"seconds": seconds, "kv_bytes": sizes[::10], "history_frames": held[::10]},
    }


def chart(rows: Sequence[dict]) -> Image.Image:
    """Time, and tokens held, over the length."""
    most_held = 40  # latent frames' worth: dense memory leaves the panel there

    def smooth(values: Sequence[float], index: int) -> float:
        return median(values[max(0, index - 10) : index + 10])

    seconds, held = [], []
    for row in rows:
        taken, frames = row["chunks"]["seconds"], row["chunks"]["history_frames"]
        name = row["memory"].replace(" of 12, sink 3", "").replace(" values", "")
        marks = (*range(0, len(taken), 10), len(taken))
        seconds.append(Line(name, tuple((3 * i, smooth(taken, i)) for i in marks)))
        points = [(30 * i, frame) for i, frame in enumerate(frames)] + [(row["latents"], frames[-1])]
        held.append(Line(name, tuple(point for point in points if point[1] <= most_held)))
    slowest = math.ceil(2 * max(y for line in seconds for _, y in line.points)) / 2
    panels = [
        Panel("CPU seconds a chunk", tuple(seconds), (0, slowest)),
        Panel("history held by a head, latent frames' worth (dense goes on)", tuple(held), (0, most_held)),
    ]
    return draw_panels(panels, "latent frames", (0, 1))


def main() -> None:
    """Stream, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=int, default=3000, help="length, a multiple of 3")
    parser.add_argument("--dense-latents", type=int, default=600, help="of them under dense memory")
    parser.add_argument("--bins", type=int, default=300, help="an excerpt is scored every so many latent frames")
    options, work = toy_finding.read_stream_options(parser, "toy_world_stream")
    lengths = {name: options.dense_latents if name == DENSE else options.latents for name in MEMORIES}
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        if not options.report:
            make = partial(stream, latents=options.latents, work=work)
            list(pool.map(make, *zip(*lengths.items(), strict=True)))
        there = {name: 3 * len(chunks_of(name, work)) for name in MEMORIES if found_file(name, work)}
        jobs = [(n, start) for start in range(0, options.latents, options.bins) for n in there]
        jobs = [(name, start) for name, start in jobs if start + BIN <= there[name]]
        compared = pool.map(partial(compare, work=work), there)
        list(pool.map(partial(score_bin, latents=options.latents, work=work), jobs))
        list(compared)
    rows = [summarise(name, options.latents, work) for name in MEMORIES if found_file(name, work)]
    setting = {
        "command": f"python benchmarks/toy_world_stream.py --latents {options.latents}",
        "prompts": PROMPTS,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, one thread a stream, two at a time",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    RESULTS.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")
    chart(rows).save(IMAGE)


if __name__ == "__main__":
    main()
