"""What ANN attention finds and what it takes: `OMP_NUM_THREADS=1 python benchmarks/ann_search.py`.

Keys and queries in the shape of Wan-1.3B at 832 x 480, made up to be like those of a video: smooth content that
drifts, a part that all tokens of a head share, noise, and Wan's RoPE. Measured are recall and density of the
searches in a few heads, and the time of attention in one layer. Writes benchmarks/results/ann_search.json; with
that and what `toy_ann.py` and `dummy-forcing bench` have measured, docs/ann_attention.md and its picture.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from ann_page import write_page
from torch import Tensor
from toy_finding import ROOT

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.memory.store import KVView
from dummy_forcing.core.methods.ann import AnnCA
from dummy_forcing.core.methods.ann.search import QuantisedCells, Search, SignHash
from dummy_forcing.core.methods.ann.sorted_history import BucketRead, SortedPast
from dummy_forcing.core.wan.rope import rope_rotations
from dummy_forcing.kernels import ReadPlan, attend, attend_densely
from dummy_forcing.kernels.norm_rope import apply_rope

RESULTS = ROOT / "benchmarks/results/ann_search.json"
GRID, DIM, CHUNK, BLOCK, PASSES = (30, 52), 128, 3, 128, 5
TOKENS = math.prod(GRID)
HEADS, FEATURES, ROWS = 4, 24, 64
HISTORY = 18  # latent frames behind the last chunk of a clip of 21
TIMED_HEADS, TIMED = 1, (9, 18, 36)
PROMPT = 512

# Share of what all tokens have in common, and how sharply heads look.
KINDS = {"diffuse": (1.0, 0.5), "sharp": (0.0, 1.0)}
SEARCHES: dict[str, Search] = {
    **{
        f"quant, {bits} bits, share {share:g}": QuantisedCells(bits, share)
        for bits, share in itertools.product((4, 6, 8), (0.0625, 0.125, 0.25, 0.5))
    },
    **{
        f"lsh, {bits} bits, radius {radius}": SignHash(bits, radius, 0)
        for bits, radius in itertools.product((4, 6, 8), (0, 1, 2))
    },
}


@dataclass(frozen=True, eq=False)
class Sample:
    """Queries [1, L, H, D] of a chunk, and a view of its keys behind a history."""

    q: Tensor
    view: KVView

    @property
    def past(self) -> int:
        """Keys of the history."""
        return self.view.own[0]

    @property
    def heads(self) -> tuple[int, ...]:
        return tuple(range(self.q.shape[2]))


def make_sample(shared: float, sharpness: float, heads: int, history: int, seed: int = 0) -> Sample:
    """Made-up keys: see the module."""
    draw = torch.Generator().manual_seed(seed)
    frames = history + CHUNK
    content = _field(frames, draw).flatten(0, 2)
    keys, queries = [], []
    for _ in range(heads):
        mix = torch.randn(FEATURES, DIM, generator=draw) / FEATURES**0.5
        common = shared * torch.randn(DIM, generator=draw)
        for into, part in ((keys, content), (queries, content[-CHUNK * TOKENS :])):
            into.append(common + part @ mix + 0.5 * torch.randn(part.shape[0], DIM, generator=draw))
    k = apply_rope(torch.stack(keys, 1)[None], rope_rotations(range(frames), *GRID, DIM))
    q = torch.stack(queries, 1)[None] * sharpness
    q = apply_rope(q, rope_rotations(range(history, frames), *GRID, DIM))
    own = history * TOKENS, frames * TOKENS
    return Sample(q, KVView(k, k, ReadPlan.prefix(heads, own[1]), own, 0, None))


def _field(frames: int, draw: torch.Generator) -> Tensor:
    """Smooth features that drift with time: [frames, rows, columns, FEATURES]."""
    rows, columns = GRID
    speed = torch.randn(3, FEATURES, generator=draw) * torch.tensor([0.12, 6.0, 6.0])[:, None]
    t = torch.arange(frames)[:, None, None, None] * speed[0]
    y = torch.linspace(0, 1, rows)[None, :, None, None] * speed[1]
    x = torch.linspace(0, columns / rows, columns)[None, None, :, None] * speed[2]
    return (t + y + x + torch.rand(FEATURES, generator=draw) * 2 * math.pi).cos() * 2**0.5


def weights_of(sample: Sample) -> Tensor:
    """Dense attention of some queries [H, ROWS, keys]."""
    rows = torch.arange(ROWS) * sample.q.shape[1] // ROWS
    return (torch.einsum("lhd,nhd->hln", sample.q[0, rows], sample.view.k[0]) * DIM**-0.5).softmax(-1)


def found_by(search: Search, sample: Sample) -> dict[str, float]:
    """Recall and density of a search."""
    past = SortedPast.of(sample.view, 0, search, sample.heads)
    read = BucketRead.of(sample.q[0], sample.view, 0, past, search, BLOCK, sample.heads)
    density = read.pairs.item() / (sample.q.shape[1] * sample.view.plan.keys_read)
    return {"density": density, "recall": read.recall.item()}


def bounds(sample: Sample) -> dict[str, list[dict[str, float]]]:
    """What a random choice of the history and the best one find, at some densities."""
    weights, past = weights_of(sample), sample.past
    own = weights[..., past:].sum(-1).mean().item()
    best = weights[..., :past].sort(dim=-1, descending=True).values.cumsum(-1).mean((0, 1))
    rows: dict[str, list[dict[str, float]]] = {"random": [], "best": []}
    for share in (0.02, 0.0625, 0.125, 0.25, 0.5, 1.0):
        density = (share * past + weights.shape[-1] - past) / weights.shape[-1]
        rows["random"].append({"density": density, "recall": own + share * (1 - own)})
        rows["best"].append({"density": density, "recall": own + best[round(share * past) - 1].item()})
    return rows


def interleaved(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of calls that take turns; on one thread other work on the machine hardly matters."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.process_time()
            run()
            taken[name].append(time.process_time() - started)
    return {name: median(seconds) for name, seconds in taken.items()}


def time_history(history: int, repeats: int) -> dict[str, float]:
    """One layer's attention behind a history: ratios to dense, with the searches' defaults."""
    sample = make_sample(*KINDS["sharp"], TIMED_HEADS, history)
    q, view, heads = sample.q, sample.view, sample.heads
    runs: dict[str, Callable[[], Any]] = {"dense": lambda: attend(q, view.k, view.v, view.plan)}
    found = {}
    for name, search in {"quant": QuantisedCells(6, 0.25), "lsh": SignHash(6, 1, 0)}.items():
        past = SortedPast.of(view, 0, search, heads)
        found[f"{name} density"] = found_by(search, sample)["density"]
        runs[f"{name} sort"] = lambda search=search: SortedPast.of(view, 0, search, heads)
        runs[f"{name} search"] = lambda search=search, past=past: BucketRead.of(
            q[0], view, 0, past, search, BLOCK, heads
        )
        runs[f"{name} pass"] = lambda search=search, past=past: BucketRead.of(
            q[0], view, 0, past, search, BLOCK, heads
        ).attend(attend_densely)
    seconds = interleaved(runs, repeats)
    print(f"history of {history} frames: {seconds}", flush=True)
    for name in ("quant", "lsh"):
        sparse, dense = seconds[f"{name} pass"], seconds["dense"]
        found[f"{name} sort"] = seconds[f"{name} sort"] / dense
        found[f"{name} search"] = seconds[f"{name} search"] / dense
        found[f"{name} pass"] = dense / sparse
        # Two of five passes are dense, the history is sorted once.
        found[f"{name} chunk"] = PASSES * dense / (2 * dense + 3 * sparse + seconds[f"{name} sort"])
    return found | {"history": history}


def time_prompt(repeats: int) -> dict[str, float]:
    """One layer's cross-attention: AnnCA over dense, and dense cross- over dense self-attention."""
    sample = make_sample(*KINDS["sharp"], TIMED_HEADS, HISTORY)
    draw = torch.Generator().manual_seed(1)
    k, v = torch.randn(2, 1, PROMPT, TIMED_HEADS, DIM, generator=draw)
    k[:, 80:], v[:, 80:] = k[:, 80:81].clone(), v[:, 80:81].clone()  # padding, as of a prompt of some 60 words
    clock = ChunkClock(6, HISTORY, CHUNK, TOKENS, 1, 0.5, False)
    run = AnnCA().begin().attention(attend_densely, clock)
    run(sample.q, k, v)
    view = sample.view
    seconds = interleaved(
        {
            "dense": lambda: attend_densely(sample.q, k, v),
            "ann": lambda: run(sample.q, k, v),
            "self": lambda: attend(sample.q, view.k, view.v, view.plan),
        },
        repeats,
    )
    return {"ratio": seconds["dense"] / seconds["ann"], "share of self": seconds["dense"] / seconds["self"]}


def measure_kind(shared: float, sharpness: float) -> dict[str, Any]:
    """What all searches find in one kind of heads."""
    sample = make_sample(shared, sharpness, HEADS, HISTORY)
    own = weights_of(sample)[..., sample.past :].sum(-1).mean().item()
    found = {name: found_by(search, sample) for name, search in SEARCHES.items()}
    return {"own": own, **bounds(sample), "searches": found}


def measure(repeats: int) -> None:
    """All figures that are not there yet; written one after the other."""
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"setting": setting()}
    parts = {
        **{f"{kind} heads": partial(measure_kind, *options) for kind, options in KINDS.items()},
        **{f"behind {history} frames": partial(time_history, history, repeats) for history in TIMED},
        "prompt": partial(time_prompt, repeats),
    }
    for name, run in parts.items():
        if name not in known:
            known[name] = run()
            RESULTS.write_text(json.dumps(known, indent=1) + "\n")
            print(f"{name}: done", flush=True)


def setting() -> dict[str, str]:
    """Machine and versions."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, one thread",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Measure, or take what was measured; then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="write the page from the results that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.page:
        measure(options.repeats)
    write_page()


if __name__ == "__main__":
    main()
