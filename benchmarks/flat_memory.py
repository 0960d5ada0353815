"""Target M2: KV bytes and process memory over 1,000 chunks: `OMP_NUM_THREADS=1 python benchmarks/flat_memory.py`.

The toy world streams under Dummy Forcing, one denoising and one clean pass a chunk, and nothing is kept of what it
makes. Before the process is looked at, freed memory goes back to the system: what is left is what is in use.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
from pathlib import Path

import torch

from dummy_forcing.cli.report import environment
from dummy_forcing.core.bench.resources import process_bytes
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.vocabulary import EXAMPLE, embed_prompt

RESULTS = Path(__file__).parent / "results" / "flat_memory.json"
LOOKED_AT = (10, 50, 100, 200, 500, 1000)
KEPT = ("date", "versions", "machine")


def main() -> None:
    """Stream, look, write the results."""
    device = torch.device("cpu")
    model = open_toy_world(device, torch.float32)
    frames = LOOKED_AT[-1] * model.family.chunk_frames
    config = model.stream_config(frames, MemoryConfig(DummyForcing()), sigmas=(1.0, 0.0))
    stream = stream_video(model.backbone, embed_prompt(EXAMPLE), config, SeededNoise(0))
    found = []
    with contextlib.closing(stream):
        for event in stream:
            if isinstance(event, ChunkDone) and event.clock.chunk + 1 in LOOKED_AT:
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
                found.append((event.clock.chunk + 1, event.kv_bytes, process_bytes()))
                print("chunk {:5}: KV {:,} bytes, process {:,} bytes".format(*found[-1]), flush=True)
    facts = environment([], device)
    rows = [dict(zip(("chunk", "kv_bytes", "process_bytes"), row, strict=True)) for row in found]
    report = {"command": "python benchmarks/flat_memory.py", **{name: facts[name] for name in KEPT}, "rows": rows}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
