"""Does a video of 2,000 latent frames hold up? The toy world's answer: `python benchmarks/toy_long_stream.py`.

Streams one video per memory, positions on the time axis and prompt, then scores excerpts of 20 latent frames in
every bin of 100. Latents and scores are kept in `--work`, so that a run can be interrupted and resumed. Writes
benchmarks/results/toy_long_stream.json, docs/toy_long_stream.md and docs/images/toy_long_stream.png at the end.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median, stdev

import torch
import toy_finding
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.media.chart import Line, Panel, draw_panels
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Absolute, Relative
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.world.render import render
from dummy_forcing.core.world.scene import draw_scenes
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt, write_prompt

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/toy_long_stream.json"
PAGE, IMAGE = ROOT / "docs/toy_long_stream.md", "images/toy_long_stream.png"

PROMPTS = (
    "a red circle moving right and a blue square moving left",
    "a magenta circle moving left and a green triangle moving up",
)
KEEPS = {
    "window of 12, sink 3": Window(3, 12),
    "Dummy Forcing 50 %": DummyForcing(),
    "Dummy Forcing 50 %, paper's cost": DummyForcing(cost="paper"),
    "Dummy Forcing 50 %, paper's cost, 3 chunks": DummyForcing(cost="paper", local_context=3),
    "Dummy Forcing 25 %": DummyForcing(0.25),
    "Dummy Forcing 25 %, 3 chunks": DummyForcing(0.25, local_context=3),
}
MORE = tuple(KEEPS)[3:]
"""These with window-relative positions from the start only."""

ROPES = {"absolute": Absolute(), "relative after 21": Relative(21), "relative": Relative()}
BIN, EXCERPT = 100, 20  # latent frames
WARM_UP = 4  # latent frames decoded before an excerpt, so that the decoder has a past
OFFSET = 40  # of the excerpt in its bin
FRAMES = 4  # video frames of a latent frame


@dataclass(frozen=True)
class Case:
    """One video."""

    keep: str
    rope: str
    prompt: str

    @property
    def memory(self) -> MemoryConfig:
        return MemoryConfig(KEEPS[self.keep], ROPES[self.rope])

    @property
    def file(self) -> str:
        keep, rope = list(KEEPS).index(self.keep), list(ROPES).index(self.rope)
        return f"{keep}-{rope}-{PROMPTS.index(self.prompt)}"


def stream(case: Case, latents: int, work: Path) -> None:
    """Make a video; its latents [16, F, h, w] and what it cost go into a file."""
    torch.set_num_threads(1)
    file = work / f"{case.file}.safetensors"
    if file.exists():
        return
    model = open_toy_world()
    config = model.stream_config(latents, case.memory)
    text = embed_prompt(case.prompt).to(model.device, model.dtype)
    seed = PROMPTS.index(case.prompt)
    chunks = [e for e in stream_video(model.backbone, text, config, SeededNoise(seed)) if isinstance(e, ChunkDone)]
    cost = {"kv_bytes": [c.kv_bytes for c in chunks], "seconds": [round(c.seconds, 4) for c in chunks]}
    part = file.with_suffix(".part")
    video = torch.cat([chunk.latents[0] for chunk in chunks], dim=1)
    save_file({"latents": video}, part, metadata={"cost": json.dumps(cost)})
    part.replace(file)
    print(f"streamed {case}: {sum(cost['seconds']):.0f} s", flush=True)


def score_bin(case: Case, index: int, work: Path) -> None:
    """Score one bin's excerpt; the terms, means over objects, go into a file."""
    torch.set_num_threads(1)
    file = work / f"{case.file}-{index}.json"
    if file.exists():
        return
    begin = index * BIN + OFFSET - WARM_UP
    with safe_open(work / f"{case.file}.safetensors", "pt") as stored:
        latents = stored.get_slice("latents")[:, begin : begin + WARM_UP + EXCERPT]
    frames = StreamingDecoder(open_toy_world().vae).decode(latents[None])[0][-FRAMES * EXCERPT :]
    file.write_text(json.dumps(terms(frames, case.prompt)))


def terms(frames: Tensor, prompt: str) -> dict[str, float]:
    """Score of an excerpt and its terms, means over objects."""
    score = score_video(frames, prompt, excerpt=True)
    means = {name: fmean(getattr(o, name) for o in score.objects) for name in ("shape", "colour", "motion")}
    return {"score": score.total, **means, "intruders": score.intruders}


def references(count: int = 10) -> dict[str, dict[str, float]]:
    """What the scale means: true renders of the world, and their first frame for ever."""
    scenes = draw_scenes(count, torch.Generator().manual_seed(0), single_share=0)
    found: dict[str, list[dict[str, float]]] = {"true render": [], "still picture": []}
    for index, offset in enumerate(torch.linspace(0, 7000, count).long()):
        video = render(scenes, offset + torch.arange(FRAMES * EXCERPT))[index]
        prompt = write_prompt(scenes.objects(index))
        found["true render"].append(terms(video, prompt))
        found["still picture"].append(terms(video[:1].expand_as(video), prompt))
    return {name: mean_terms(rows) for name, rows in found.items()}


def mean_terms(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Term by term."""
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def make(case: Case, latents: int, work: Path) -> None:
    """Stream a video and score it, the ends first: they decide about drift."""
    stream(case, latents, work)
    bins = latents // BIN
    for index in sorted(range(bins), key=lambda index: min(index, bins - 1 - index)):
        score_bin(case, index, work)


def collect(case: Case, bins: int, work: Path) -> dict:
    """All that is known of a video; bins not scored yet are left out."""
    with safe_open(work / f"{case.file}.safetensors", "pt") as stored:
        cost = json.loads(stored.metadata()["cost"])
    files = {index * BIN: work / f"{case.file}-{index}.json" for index in range(bins)}
    scores = {start: json.loads(file.read_text()) for start, file in files.items() if file.exists()}
    quarter = len(cost["seconds"]) // 4
    return {
        **vars(case),
        "bins": [{"start": start, **score} for start, score in scores.items()],
        "kv_bytes_first_last_max": [cost["kv_bytes"][0], cost["kv_bytes"][-1], max(cost["kv_bytes"])],
        "kv_bytes_from_chunk_2_on": sorted(set(cost["kv_bytes"][2:])),
        "median_seconds_first_last_quarter": [
            median(cost["seconds"][:quarter]),
            median(cost["seconds"][-quarter:]),
        ],
    }


def summarise(videos: Sequence[dict], latents: int) -> Iterator[dict]:
    """One row per memory and positions: first against last quarter, over all prompts."""
    for keep, rope in product(KEEPS, ROPES):
        ours = [video for video in videos if (video["keep"], video["rope"]) == (keep, rope)]
        if not ours:
            continue
        row = {"keep": keep, "rope": rope, "videos": len(ours)}
        for name in ("score", "motion"):
            scored = [each for video in ours for each in video["bins"]]
            first = [each[name] for each in scored if each["start"] < latents // 4]
            last = [each[name] for each in scored if each["start"] >= 3 * (latents // 4)]
            error = (stdev(first) ** 2 / len(first) + stdev(last) ** 2 / len(last)) ** 0.5
            row[name] = {"first": fmean(first), "last": fmean(last), "error_of_difference": error}
        row["kv_bytes"] = sorted({size for video in ours for size in video["kv_bytes_from_chunk_2_on"]})
        times = [video["median_seconds_first_last_quarter"] for video in ours]
        row["seconds_first_last"] = [fmean(each) for each in zip(*times, strict=True)]
        yield row


def chart(videos: Sequence[dict]):
    """Score over the length: a panel per memory, a line per kind of positions, mean over prompts."""
    panels = []
    for keep in KEEPS:
        lines = []
        for rope in reversed(ROPES):  # what all panels have comes first: a colour means the same everywhere
            at: dict[int, list[float]] = {}
            for video in videos:
                if (video["keep"], video["rope"]) == (keep, rope):
                    for each in video["bins"]:
                        at.setdefault(each["start"], []).append(each["score"])
            if at:
                points = ((start + OFFSET + EXCERPT / 2, fmean(scores)) for start, scores in sorted(at.items()))
                lines.append(Line(rope, tuple(points)))
        if lines:
            panels.append(Panel(keep, tuple(lines)))
    return draw_panels(panels, x_label="latent frame", y_range=(0.0, 1.0))


_TABLE = """\
| memory | positions | score, first quarter | last quarter | change | motion, first | last | KV, KiB |
|---|---|---|---|---|---|---|---|
"""


def table(rows: Sequence[dict]) -> str:
    """Rows of the page."""
    lines = []
    for row in rows:
        score, motion = row["score"], row["motion"]
        change, error = (score["last"] - score["first"]), score["error_of_difference"]
        sizes = " to ".join(f"{size / 1024:.0f}" for size in sorted({row["kv_bytes"][0], row["kv_bytes"][-1]}))
        lines.append(
            f"| {row['keep']} | {row['rope']} | {score['first']:.3f} | {score['last']:.3f} | "
            f"{change / score['first']:+.1%} ± {error / score['first']:.1%} | {motion['first']:.3f} | "
            f"{motion['last']:.3f} | {sizes} |"
        )
    return _TABLE + "\n".join(lines)


_BEGIN, _END = "<!-- toy_long_stream.py -->", "<!-- end -->"
_MEASURED = """\
Made by `{command}` on {machine}, torch {torch},
{date}: {latents} latent frames ({frames} video frames) a video, {prompts} a row.

{table}

For the scale: true renders of the world score {true:.3f} (motion {true_motion:.3f}), their first frame repeated for
ever scores {still:.3f} (motion {still_motion:.3f}).
"""


def write_page(results: dict) -> None:
    """Put the table into the page between its marks; the text around it is written by hand."""
    setting, scale = results["setting"], results["references"]
    measured = _MEASURED.format(
        **{**setting, "prompts": " and ".join(f"“{prompt}”" for prompt in setting["prompts"])},
        frames=FRAMES * setting["latents"] - 3,
        table=table(results["rows"]),
        true=scale["true render"]["score"],
        true_motion=scale["true render"]["motion"],
        still=scale["still picture"]["score"],
        still_motion=scale["still picture"]["motion"],
    )
    text = PAGE.read_text() if PAGE.exists() else f"# Long streams\n\n{_BEGIN}\n{_END}\n"
    before, rest = text.split(_BEGIN)
    PAGE.write_text(f"{before}{_BEGIN}\n{measured}{_END}{rest.split(_END, 1)[1]}")


def main() -> None:
    """Stream, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=int, default=2001, help="length, a multiple of 3")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="videos per memory")
    options, work = toy_finding.read_stream_options(parser, "toy_long_stream")
    bins = options.latents // BIN
    used = PROMPTS[: options.prompts]
    cases = [
        Case(keep, rope, prompt)
        for prompt, rope, keep in product(used, reversed(ROPES), KEEPS)
        if keep not in MORE or rope == "relative"
    ]
    if not options.report:
        with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
            list(pool.map(partial(make, latents=options.latents, work=work), cases))
    videos = [collect(case, bins, work) for case in cases if (work / f"{case.file}.safetensors").exists()]
    results = {
        "setting": {
            "command": f"python benchmarks/toy_long_stream.py --latents {options.latents} --prompts {len(used)}",
            "latents": options.latents,
            "prompts": used,
            "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
            "torch": torch.__version__,
            "date": datetime.date.today().isoformat(),
        },
        "references": references(),
        "rows": list(summarise(videos, options.latents)),
        "videos": videos,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    chart(videos).save(PAGE.parent / IMAGE)
    write_page(results)


if __name__ == "__main__":
    main()
