"""TempCache on the toy world: `python benchmarks/toy_temp_cache.py`.

What do merged tokens cost in quality? The same prompts and noise under dense memory, windows and TempCache at some
similarities: score, and PSNR to dense, against the tokens held. And how much of dense attention is left? Keys of a
dense video are merged on the side, and in every clean pass the attention over merged tokens is compared with dense
attention over the groups that these stand for. Results of every video are kept in `--work`, so that a run can be
interrupted and resumed. Writes benchmarks/results/toy_temp_cache.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
import toy_finding
from safetensors.torch import load_file, save_file
from torch import Tensor

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/toy_temp_cache.json"

PROMPTS = ("a red circle moving right and a blue square moving left", *toy_finding.PROMPTS[1:3])
DENSE = "dense"
SIMILARITIES = (0.8, 0.9, 0.95, 0.98)
ALL = 1000  # a budget that no video here reaches


def merged(similarity: float, **options) -> MemoryConfig:
    """TempCache over the whole history, without evictions."""
    return MemoryConfig(merge=TempCache(similarity, **{"budget": ALL, **options}))


MEMORIES = {
    DENSE: MemoryConfig(),
    **{f"window of {size}, sink 1": MemoryConfig(Window(1, size), Relative(21)) for size in (7, 12)},
    **{
        f"TempCache {similarity}, {values} values": merged(similarity, values=values)
        for values, similarity in product(("mean", "newest"), SIMILARITIES)
    },
    "TempCache 0.9, newest values, 3 x 3": merged(0.9, values="newest", correspondence="neighbourhood"),
    "TempCache 0.9, newest values, nearest": merged(0.9, values="newest", correspondence="nearest"),
    "TempCache 0.9, newest values, roped keys": merged(0.9, values="newest", compare="roped"),
    "TempCache 0.9, newest values, budget 4": merged(0.9, values="newest", budget=4),
}
PROBED = {
    **{f"TempCache {similarity}": merged(similarity) for similarity in SIMILARITIES},
    "TempCache 0.9, roped keys": merged(0.9, compare="roped"),
    "TempCache 0.9, budget 4": merged(0.9, budget=4),
}
ROWS = 16  # queries of a head that recall is estimated from


def make(job: tuple[str, int], latents: int, work: Path) -> None:
    """One video; its latents and frames' worth of history go into a file."""
    torch.set_num_threads(1)
    name, prompt = job
    file = file_of(name, prompt, work)
    if file.exists():
        return
    model = open_toy_world()
    config = model.stream_config(latents, MEMORIES[name])
    text = embed_prompt(PROMPTS[prompt])
    chunks = [
        each
        for each in stream_video(model.backbone, text, config, SeededNoise(prompt))
        if isinstance(each, ChunkDone)
    ]
    frames = StreamingDecoder(model.vae).decode(torch.cat([each.latents for each in chunks], dim=2))[0]
    score = score_video(frames, PROMPTS[prompt]).total
    held = chunks[-2].history_frames  # what the last chunk reads
    save_file({"frames": frames.contiguous(), "figures": torch.tensor([score, held])}, file)
    print(f"{name}, prompt {prompt}: score {score:.3f}, {held:.2f} frames held", flush=True)


def file_of(name: str, prompt: int, work: Path) -> Path:
    """Where a video is."""
    return work / f"{list(MEMORIES).index(name)}-{prompt}.safetensors"


def quality(name: str, prompts: int, latents: int, work: Path) -> dict:
    """A memory's row, means over prompts."""
    rows = []
    for prompt in range(prompts):
        ours, dense = (load_file(file_of(each, prompt, work)) for each in (name, DENSE))
        score, held = ours["figures"].tolist()
        rows.append((score, psnr(ours["frames"], dense["frames"]), held))
    score, decibels, held = (fmean(column) for column in zip(*rows, strict=True))
    return {
        "memory": name,
        "score": score,
        "psnr_to_dense": None if name == DENSE else decibels,
        "history_frames": held,
        "density": (held + 3) / latents,
    }


class Probe:
    """Merges the keys of a dense video on the side and compares attention; an observer of clean passes.

    Values tell what a merged token stands for: the place in the frame, and the mean of the members' frames.
    """

    def __init__(self, memory):
        self._memory = memory
        self.recalls: list[float] = []
        self.densities: list[float] = []

    def wants(self, clock: ChunkClock) -> bool:
        """In the clean pass, whose keys are kept."""
        return clock.clean

    def observe(self, layer: int, q: Tensor, k: Tensor, key_frames: Sequence[int], clock: ChunkClock) -> None:
        """See `AttentionObserver`; all history is in order of frames, the pass's own last."""
        n = clock.tokens_per_frame
        frames = torch.arange(clock.start_frame, clock.end_frame, dtype=k.dtype).repeat_interleave(n)
        own = k[:, -clock.frames * n :]
        labels = torch.zeros_like(own)
        labels[0, :, :, 0] = torch.arange(n, dtype=k.dtype).repeat(clock.frames)[:, None]
        labels[0, :, :, 1] = frames[:, None]
        self._memory.attend(layer, own[:, :1], own, labels, clock)
        ((group,),) = [self._memory._layers[layer]]
        if clock.chunk:
            view, rows = group.store.view(clock), torch.linspace(0, q.shape[1] - 1, ROWS).long()
            for head in range(q.shape[2]):
                self._compare(q[0, rows, head], k[0, :, head], view, head, n)
        if layer == len(self._memory._layers) - 1:
            self._memory.commit(clock)

    def _compare(self, q: Tensor, k: Tensor, view, head: int, n: int) -> None:
        places = torch.cat([torch.arange(*each) for each in view.plan.ranges[head]])
        bias = torch.zeros(len(places)) if view.plan.bias is None else view.plan.bias[head, places]
        scale = q.shape[-1] ** -0.5
        ours = (q @ view.k[0, places, head].mT * scale + bias).softmax(-1)
        dense = (q @ k.mT * scale).softmax(-1)
        group = torch.full((len(k),), len(places))  # the last one is for evicted tokens
        for index, (label, logarithm) in enumerate(zip(view.v[0, places, head].tolist(), bias, strict=True)):
            members = round(logarithm.exp().item())
            newest = round(label[1] + (members - 1) / 2)
            group[(torch.arange(newest - members + 1, newest + 1) * n + round(label[0]))] = index
        mass = torch.zeros(len(q), len(places) + 1).index_add_(1, group, dense)
        self.recalls.append(torch.minimum(mass[:, :-1], ours).sum(-1).mean().item())
        self.densities.append(len(places) / len(k))


def probe(name: str, prompt: int, latents: int, work: Path) -> dict:
    """Recall and density over all chunks but the first, layers and heads of a dense video."""
    torch.set_num_threads(1)
    file = work / f"probe-{list(PROBED).index(name)}-{prompt}.json"
    if file.exists():
        return json.loads(file.read_text())
    model = open_toy_world()
    config, text = model.stream_config(latents, MemoryConfig()), embed_prompt(PROMPTS[prompt])
    found = Probe(PROBED[name].begin(config.shape_for(model.backbone, text)))
    for _ in stream_video(model.backbone, text, config, SeededNoise(prompt), observers=(found,)):
        pass
    per_chunk = len(found.recalls) // (latents // 3 - 1)
    row = {
        "memory": name,
        "recall": fmean(found.recalls),
        "recall_last_chunk": fmean(found.recalls[-per_chunk:]),
        "density_last_chunk": fmean(found.densities[-per_chunk:]),
    }
    file.write_text(json.dumps(row))
    print(row, flush=True)
    return row


def main() -> None:
    """Make, probe, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=int, default=21, help="length, a multiple of 3")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, default=ROOT / "out/toy_temp_cache")
    options = parser.parse_args()
    work = options.work / str(options.latents)
    work.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        probed = pool.map(partial(probe, prompt=0, latents=options.latents, work=work), PROBED)
        jobs = [(name, prompt) for prompt in range(options.prompts) for name in MEMORIES]
        list(pool.map(partial(make, latents=options.latents, work=work), jobs))
        recalls = list(probed)
    setting = {
        "command": f"python benchmarks/toy_temp_cache.py --latents {options.latents} --prompts {options.prompts}",
        "latents": options.latents,
        "prompts": PROMPTS[: options.prompts],
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    rows = [quality(name, options.prompts, options.latents, work) for name in MEMORIES]
    RESULTS.write_text(json.dumps({"setting": setting, "quality": rows, "recall": recalls}, indent=1) + "\n")


if __name__ == "__main__":
    main()
