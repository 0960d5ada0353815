"""What TempCache costs and saves at the head shape of Wan 1.3B: `python benchmarks/temp_cache_cost.py`.

One layer's memory, 12 heads of 128 channels, is filled with keys like those of a video: a known share of the tokens
stands still, the others drift from frame to frame, in every head at another speed. Then one pass and one commit are
timed, all memories in turns. Writes benchmarks/results/temp_cache_cost.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.memory.memory import Memory
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.rope import rope_rotations
from dummy_forcing.kernels.norm_rope import apply_rope

RESULTS = Path(__file__).resolve().parent / "results"
HEADS, DIM, CHUNK = 12, 128, 3
PASSES = 5  # of a chunk; there is one commit
STILL = 0.7  # of the tokens of a frame
DRIFTS = (0.1, 1.0)  # of the others in the first and in the last head; 1 forgets all within a frame

MEMORIES = {
    "dense": MemoryConfig(),
    "window of 12, sink 3": MemoryConfig(Window(3, 12)),
    "TempCache": MemoryConfig(merge=TempCache()),
    "TempCache, 3 x 3": MemoryConfig(merge=TempCache(correspondence="neighbourhood")),
    "TempCache, nearest": MemoryConfig(merge=TempCache(correspondence="nearest")),
    "TempCache, budget 12": MemoryConfig(merge=TempCache(budget=12)),
    "TempCache, similarity 1": MemoryConfig(merge=TempCache(1.0, budget=10_000)),
}


def video_keys(frames: int, grid: tuple[int, int], seed: int = 0) -> Iterator[Tensor]:
    """Un-roped keys [1, tokens, H, D] of frame after frame."""
    generator = torch.Generator().manual_seed(seed)
    tokens = grid[0] * grid[1]
    drift = torch.linspace(*DRIFTS, HEADS)[:, None]
    still = torch.arange(tokens) < STILL * tokens
    frame = torch.randn(1, tokens, HEADS, DIM, generator=generator)
    for _ in range(frames):
        yield frame
        noise = torch.randn(frame.shape, generator=generator)
        moved = (1 - drift**2).sqrt() * frame + drift * noise
        frame = torch.where(still[:, None, None], frame, moved)


def chunks(frames: int, grid: tuple[int, int]) -> Iterator[tuple[ChunkClock, Tensor, Tensor]]:
    """Clocks, roped keys and values of chunk after chunk."""
    tokens, generator = grid[0] * grid[1], torch.Generator().manual_seed(1)
    video = video_keys(frames, grid)
    for start in range(0, frames, CHUNK):
        k = torch.cat([next(video) for _ in range(CHUNK)], dim=1)
        k = apply_rope(k, rope_rotations(range(start, start + CHUNK), *grid, DIM))
        v = torch.randn(k.shape, generator=generator)
        yield ChunkClock(start // CHUNK, start, CHUNK, tokens, 4, 0.0, True), k, v


def begin(config: MemoryConfig, grid: tuple[int, int], frames: int) -> Memory:
    """The memory of one layer."""
    return config.begin(VideoShape(1, HEADS, CHUNK, frames, grid=grid, head_dim=DIM))


@torch.inference_mode()
def measure(history: int, grid: tuple[int, int], repeats: int) -> list[dict]:
    """All memories behind so many frames of history; a commit goes on by a chunk."""
    frames = history + CHUNK * (repeats + 1)
    memories = {name: begin(config, grid, frames) for name, config in MEMORIES.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in MEMORIES}
    held = {}
    for clock, k, v in chunks(frames, grid):
        filled = clock.start_frame >= history
        for name, memory in memories.items():
            if clock.start_frame == history:
                held[name] = memory.status.history_frames
            began = time.process_time()
            memory.attend(0, k if filled else k[:, :1], k, v, clock)
            attended = time.process_time()
            memory.commit(clock)
            if clock.start_frame > history:  # the first one warms up
                taken[name].append((attended - began, time.process_time() - attended))
    rows = []
    for name, memory in memories.items():
        attend, commit = (median(column) for column in zip(*taken[name], strict=True))
        rows.append(
            {
                "memory": name,
                "history": history,
                "history_frames": held[name],
                "density": (held[name] + CHUNK) / (history + CHUNK),
                "kv_bytes": memory.status.bytes,
                "pass_seconds": attend,
                "commit_seconds": commit,
                "chunk_seconds": PASSES * attend + commit,
            }
        )
    return rows


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=int, nargs=2, default=(8, 12), help="rows and columns of a frame's tokens")
    parser.add_argument("--history", type=int, nargs="+", default=[30, 60, 120, 240])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", default="temp_cache_cost", help="name of the results, without .json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for each in options.history for row in measure(each, tuple(options.grid), options.repeats)]
    setting = {
        "command": f"python benchmarks/temp_cache_cost.py --grid {' '.join(map(str, options.grid))} "
        f"--history {' '.join(map(str, options.history))} --repeats {options.repeats}",
        "heads": HEADS,
        "head_dim": DIM,
        "still": STILL,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, one thread, shared with other work",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    (RESULTS / f"{options.output}.json").write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})


if __name__ == "__main__":
    main()
