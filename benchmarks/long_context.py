"""What a long context costs: `python benchmarks/long_context.py`.

Dummy Forcing whose neighbor heads look back 19 chunks (60 latent frames or 237 video frames with the chunk itself),
against dense memory and against windows, on random weights in Wan 1.3B's layer shapes. History is committed from
random keys and values; then every memory runs whole passes over one chunk, taking turns, so that whatever else the
machine does hits all of them. On a CPU only ratios mean something. Writes benchmarks/results/long_context.json and
the table in docs/long_context.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory.memory import Memory
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.base import KeepMethod
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.forward import encode_prompt, forward_chunk
from dummy_forcing.core.wan.shape import WanShape

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "benchmarks/results/long_context.json", ROOT / "docs/long_context.md"
WAN = {"dim": 1536, "heads": 12, "ffn_dim": 8960}
WAN_LAYERS, WAN_TOKENS = 30, 1560
CHUNK, LOCAL = 3, 19  # latent frames; chunks
TEXT_TOKENS = 512
LATENT_SIZES = {"full": (60, 104), "quarter": (30, 52)}  # 832 x 480 pixels, and half of both sides


def roles(layers: int) -> tuple[tuple[int, ...], ...]:
    """Half of the heads dummy, a quarter sink and neighbor each: 0, 1, 2 by value.

    As in docs/references.md, "What a pass costs".
    """
    return ((0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2),) * layers


def memories(layers: int) -> dict[str, KeepMethod]:
    """Rows of the table."""
    local = CHUNK * LOCAL
    mean = (local + 3) // 4  # frames of history of a Dummy Forcing head: a quarter of them hold all, the others one
    return {
        "dense": Dense(),
        "window, the same reach": Window(sink=CHUNK, size=local + CHUNK),
        "window, as many cached frames": Window(sink=CHUNK, size=mean + CHUNK),
        f"Dummy Forcing 50 %, local context of {LOCAL} chunks": DummyForcing(
            roles=roles(layers), local_context=LOCAL, classification_chunk=0
        ),
    }


@dataclass
class Timed:
    """A memory that notes how long its attention takes."""

    memory: Memory
    attention: float = 0.0
    passes: list[tuple[float, float]] = field(default_factory=list)

    def attend(self, *arguments: Any) -> Tensor:
        started = time.perf_counter()
        out = self.memory.attend(*arguments)
        self.attention += time.perf_counter() - started
        return out

    def attend_prompt(self, *arguments: Any) -> Tensor:
        return self.memory.attend_prompt(*arguments)


def fill(memory: Memory, layers: int, frames: int, tokens: int) -> None:
    """Commit random keys and values; one query token is enough for that."""
    for start in range(0, frames, CHUNK):
        clock = ChunkClock(start // CHUNK, start, CHUNK, tokens, 4, 0.0, True)
        for layer in range(layers):
            k, v = (torch.randn(1, CHUNK * tokens, WAN["heads"], 128) for _ in range(2))
            memory.attend(layer, k[:, :1], k, v, clock)
        memory.commit(clock)


@torch.inference_mode()
def measure(options: argparse.Namespace, history: int) -> list[dict]:
    """All memories at one length of history, in turns."""
    height, width = LATENT_SIZES[options.tokens]
    tokens = height * width // 4
    torch.manual_seed(0)
    backbone = CausalWan(WanShape(**WAN, layers=options.layers)).eval()
    prompt = encode_prompt(backbone, torch.randn(1, TEXT_TOKENS, 4096))
    x, t = torch.randn(1, 16, CHUNK, height, width), torch.tensor([800.0])
    clock = ChunkClock(history // CHUNK, history, CHUNK, tokens, 0, 0.8, False)
    video = VideoShape(
        options.layers, WAN["heads"], CHUNK, history + CHUNK, grid=(height // 2, width // 2), head_dim=128
    )
    timed = {}
    for name, keep in memories(options.layers).items():
        timed[name] = Timed(MemoryConfig(keep).begin(video))
        fill(timed[name].memory, options.layers, history, tokens)
    for repeat in range(options.repeats + 1):
        for each in timed.values():
            each.attention, started = 0.0, time.perf_counter()
            forward_chunk(backbone, x, t, prompt, each, clock)
            if repeat:  # the first one warms up
                each.passes.append((time.perf_counter() - started, each.attention))
    rows = []
    for name, each in timed.items():
        status = each.memory.status
        seconds, attention = (median(column) for column in zip(*each.passes, strict=True))
        rows.append(
            {
                "memory": name,
                "history": history,
                "cached_frames": status.history_frames,
                "kv_bytes": status.bytes,
                "seconds_a_pass": seconds,
                "attention_seconds_a_pass": attention,
                "kv_bytes_of_30_layers_bf16_480p": full_size_bytes(name, history),
            }
        )
    return rows


def full_size_bytes(name: str, history: int) -> int:
    """KV of the whole 1.3B model at 480p in bf16, at the end of a video with that much history."""
    video = VideoShape(
        WAN_LAYERS, WAN["heads"], CHUNK, history + CHUNK, grid=(1, WAN_TOKENS), head_dim=128, dtype=torch.bfloat16
    )
    return forecast_kv(MemoryConfig(memories(WAN_LAYERS)[name].upper_bound(video)), video).final_bytes


_PAGE = """\
# What a long context costs

Dummy Forcing whose neighbor heads look back 19 chunks of 3, so that with the chunk itself they see 60 latent frames,
237 video frames: the case for which the paper reports 18.1 frames a second against 9.4 of dense memory, 1.93 times as
many (H100; their figures, not ours). Here: random weights in the layer shapes of Wan 1.3B, half of the heads dummy, a
quarter sink and a quarter neighbor heads; whole passes over one chunk, all memories in turns in one run.

Made by `{command}` on {machine}, torch {torch}, {date}: layers {layers}, {per_frame} tokens a latent frame
({tokens} size of 832 x 480), fp32, threads {threads}, timed passes {repeats}. The machine was shared with other
work, so times are given only as ratios, and these are noisy: some that should be 1.0 are not, and some exceed the
ratio of the keys.

| latent frames of history | memory | cached frames a head | KV against dense | KV of the whole model, 480p, bf16 | keys read, times fewer than dense | self-attention, times faster | whole pass, times faster |
|---|---|---|---|---|---|---|---|
{rows}

A chunk takes five such passes, so its ratio is the same. By arithmetic, with all 1,560 tokens a frame
self-attention is a larger part of the pass than with a quarter of them, so the whole pass gains more. Dense memory
goes on growing with the video; all others stay at their size.
"""  # noqa: E501


def page(results: dict) -> str:
    """The page for docs/."""
    lines = []
    for group in results["rows"]:
        dense = group[0]
        for row in group:
            fewer = (dense["cached_frames"] + CHUNK) / (row["cached_frames"] + CHUNK)
            faster = [dense[key] / row[key] for key in ("attention_seconds_a_pass", "seconds_a_pass")]
            lines.append(
                f"| {row['history']} | {row['memory']} | {row['cached_frames']:.1f} | "
                f"{row['kv_bytes'] / dense['kv_bytes']:.1%} | "
                f"{row['kv_bytes_of_30_layers_bf16_480p'] / 2**30:.1f} GiB | {fewer:.2f} | "
                f"{faster[0]:.2f} | {faster[1]:.2f} |"
            )
    return _PAGE.format(**results["setting"], rows="\n".join(lines))


def main() -> None:
    """Measure, then write results and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", choices=LATENT_SIZES, default="quarter")
    parser.add_argument("--history", type=int, nargs="+", default=[60, 120], help="latent frames, multiples of 3")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    height, width = LATENT_SIZES[options.tokens]
    setting = {
        "command": f"python benchmarks/long_context.py --layers {options.layers} --tokens {options.tokens} "
        f"--history {' '.join(map(str, options.history))} --repeats {options.repeats}",
        "layers": options.layers,
        "tokens": options.tokens,
        "per_frame": height * width // 4,
        "repeats": options.repeats,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    results = {"setting": setting, "rows": [measure(options, history) for history in options.history]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
