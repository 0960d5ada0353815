"""ANN attention on the toy world: `OMP_NUM_THREADS=1 python benchmarks/toy_ann.py`.

Videos of the same prompts and noise are made with searches that read more or less of the history, next to random
choices of as many keys, and with prompts of which only some tokens are read. What has been measured is kept in
benchmarks/results/toy_ann.json, so that a run can be broken off and taken up; `ann_search.py` writes the page.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from toy_finding import PROMPTS as ALL_PROMPTS
from toy_finding import ROOT, SAME

from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnCA, AnnSA
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.tally import Tally
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

PROMPTS = ALL_PROMPTS[::4]
RESULTS = ROOT / "benchmarks/results/toy_ann.json"
LATENTS = 21
# 36 tokens a frame, 756 in all: fewer buckets and smaller blocks than a large model's.
SMALL = AnnSA(bits=4, block=16, min_frames=3, min_recall=0.0)
HASHED = replace(SMALL, search="lsh")
EVERY_PASS = {"dense_passes": 0, "sparse_clean": True}


@dataclass(frozen=True)
class RandomBuckets:
    """A search that finds nothing: keys are in random buckets, of which blocks visit some at random."""

    bits: int
    share: float

    @property
    def buckets(self) -> int:
        return 1 << self.bits

    def index(self, keys: Tensor, valid: Tensor | None, heads: tuple[int, ...]) -> tuple[Tensor, None]:
        """See `Search`."""
        draw = torch.Generator().manual_seed(keys.shape[0])
        return torch.randint(self.buckets, (len(heads), keys.shape[0]), generator=draw), None

    def visits(self, q: Tensor, centroids: None, block: int, heads: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """See `Search`."""
        order = torch.arange(q.shape[0]).expand(len(heads), -1)
        drawn = torch.rand(len(heads), -(-q.shape[0] // block), self.buckets)
        wanted = drawn.topk(round(self.share * self.buckets), dim=-1).indices
        return order, torch.zeros(drawn.shape, dtype=torch.bool).scatter_(2, wanted, True)


@dataclass(frozen=True)
class AnnRandom(AnnSA):
    """AnnSA with the search that finds nothing."""

    @property
    def method(self) -> RandomBuckets:
        return RandomBuckets(self.bits, self.share)


def random_choice(share: float) -> AnnRandom:
    """As many keys as `SMALL` reads at this share."""
    return AnnRandom(**{**vars(SMALL), "share": share})


CASES: dict[str, MemoryConfig] = {
    "dense": MemoryConfig(),
    **{f"quant, share {share:g}": MemoryConfig(select=replace(SMALL, share=share)) for share in (0.125, 0.25, 0.5)},
    **{f"random, share {share:g}": MemoryConfig(select=random_choice(share)) for share in (0.25,)},
    **{f"lsh, radius {radius}": MemoryConfig(select=replace(HASHED, radius=radius)) for radius in (0, 1)},
    "quant, share 0.25, every pass": MemoryConfig(select=replace(SMALL, **EVERY_PASS)),
    "random, share 0.25, every pass": MemoryConfig(select=replace(random_choice(0.25), **EVERY_PASS)),
    "quant, share 0.25, clean pass too": MemoryConfig(select=replace(SMALL, sparse_clean=True)),
    "quant, share 0.25, layers above 0.7": MemoryConfig(select=replace(SMALL, min_recall=0.7)),
    "TempCache": MemoryConfig(merge=TempCache()),
    "TempCache and quant, share 0.25": MemoryConfig(merge=TempCache(), select=SMALL),
    **{f"AnnCA, {bits} bits": MemoryConfig(cross=AnnCA(bits)) for bits in (4, 8)},
}


def generate(model: ARVideoModel, config: MemoryConfig) -> tuple[list[Tensor], list[Any]]:
    """A video [F, H, W, 3] for every prompt, each with a seed of its own, and what was read for it."""
    videos, reports = [], []
    for prompt in PROMPTS:
        stream = model.stream_config(LATENTS, config)
        tally, decoder, frames = Tally(stream), StreamingDecoder(model.vae), []
        noise = SeededNoise(ALL_PROMPTS.index(prompt))
        for event in stream_video(model.backbone, embed_prompt(prompt), stream, noise):
            tally.add(event)
            if hasattr(event, "latents"):
                frames.append(decoder.decode(event.latents)[0])
        videos.append(torch.cat(frames))
        reports.append(tally.report(1.0).selected)
    return videos, reports


def measure(name: str) -> dict[str, Any]:
    """All videos of a case; runs in a worker process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of random choices
    videos, reports = generate(open_toy_world(), CASES[name])
    dense = ROOT / "out/toy_ann_dense.pt"
    if name == "dense":
        dense.parent.mkdir(exist_ok=True)
        torch.save(videos, dense)
    found = {
        "score": [score_video(video, prompt).total for video, prompt in zip(videos, PROMPTS, strict=True)],
        "psnr": [min(SAME, psnr(*pair)) for pair in zip(videos, torch.load(dense), strict=True)],
    }
    if None not in reports:
        found |= {key: fmean(getattr(report, key) for report in reports) for key in ("density", "recall")}
        found["layers"] = [[layer.recall for layer in report.layers] for report in reports]
    return found


def main() -> None:
    """Measure what is not known; written after every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    missing = [name for name in CASES if name not in known]

    def keep(name: str, found: dict[str, Any]) -> None:
        known[name] = found
        RESULTS.write_text(json.dumps({name: known[name] for name in CASES if name in known}, indent=1) + "\n")
        print(f"{name}: score {fmean(found['score']):.3f}, {fmean(found['psnr']):.2f} dB", flush=True)

    if missing and missing[0] == "dense":
        keep("dense", measure(missing.pop(0)))  # the others are compared with it
    with ProcessPoolExecutor(max_workers=options.workers, mp_context=get_context("spawn")) as pool:
        runs = {pool.submit(measure, name): name for name in missing}
        for run in as_completed(runs):
            keep(runs[run], run.result())


if __name__ == "__main__":
    main()
