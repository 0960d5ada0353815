"""What decoders cost side by side: `python benchmarks/decoders.py`.

Random weights in the published shapes; each decodes a chunk in the midst of a video, streamed. They take turns, so
that whatever else the machine does hits all of them; what counts is the ratio of the medians. Arithmetic is counted
by PyTorch on the same chunk. Writes benchmarks/results/decoders.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from dummy_forcing.cli.values import latent_size
from dummy_forcing.core.bench.setting import BenchSetting
from dummy_forcing.core.bench.shapes import DECODERS, RESOLUTIONS, SHAPES, decoder_outline, with_random_weights
from dummy_forcing.core.bench.subjects import DecodeSubject
from dummy_forcing.core.bench.timing import interleave
from dummy_forcing.core.bench.typed_memories import parse_policies
from dummy_forcing.core.decoders.streaming import StreamingDecoder

RESULT = Path(__file__).parent / "results" / "decoders.json"


def setting_of(name: str, options: argparse.Namespace) -> BenchSetting:
    """A decoder of `DECODERS` on a chunk of the asked size."""
    return BenchSetting(
        shape=replace(SHAPES["wan-1.3b"], vae=DECODERS[name]),
        latent_size=options.latent_size,
        lengths=(2 * options.chunk_frames,),
        policies=parse_policies(("dense",)),
        device=torch.device(options.device),
        dtype=getattr(torch, options.dtype),
        chunk_frames=options.chunk_frames,
    )


def subject_of(name: str, options: argparse.Namespace) -> DecodeSubject:
    """The decoder with random weights."""
    setting = setting_of(name, options)
    with torch.no_grad():
        module = with_random_weights(decoder_outline(setting.shape.vae), 0, setting.device, setting.dtype)
    return DecodeSubject(module, setting, name)


def tflop(name: str, options: argparse.Namespace) -> float:
    """Arithmetic of the chunk that is timed, as the multiply-adds of all layers, twice."""
    setting = setting_of(name, options)
    decoder = StreamingDecoder(decoder_outline(setting.shape.vae))
    latents = torch.zeros(1, 16, options.chunk_frames, *setting.latent_size, device="meta")
    decoder.decode_on_device(latents)
    with FlopCounterMode(display=False) as counter:
        decoder.decode_on_device(latents)
    return counter.get_total_flops() / 1e12


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latent-size", type=latent_size, default=RESOLUTIONS["480p"], metavar="HxW")
    parser.add_argument("--chunk-frames", type=int, default=3, help="latent frames (default: 3)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    load = os.getloadavg()
    print({name: round(tflop(name, options), 2) for name in DECODERS}, "TFLOP", flush=True)
    subjects = [subject_of(name, options) for name in DECODERS]
    entries = interleave(subjects, options.repeats, lambda repeat, name: print(repeat, name, flush=True))
    seconds = {entry.name: median(entry.samples) for entry in entries}
    result = {
        **vars(options),
        "weights": "random, published shapes",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "load_average": load,
        "load_average_after": os.getloadavg(),
        "video_frames": 4 * options.chunk_frames,
        "seconds": {entry.name: entry.samples for entry in entries},
        "faster_than_wan": {name: seconds["wan"] / each for name, each in seconds.items()},
        "tflop": {name: tflop(name, options) for name in DECODERS},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["faster_than_wan"]))


if __name__ == "__main__":
    main()
