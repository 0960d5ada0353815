"""What keys and values in 8 bits cost: `OMP_NUM_THREADS=1 python benchmarks/toy_kv_quantisation.py`.

Errors of attention outputs under several ways to scale, on the toy world's own keys and on random ones with
outliers; bytes for Wan 1.3B at 480p; then videos of the same prompts and noise with the history in fp32, int8 and
e4m3. Writes benchmarks/results/toy_kv_quantisation.json and docs/kv_quantisation.md.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import fmean

import torch
import toy_finding
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dummy_forcing.core.bench.shapes import RESOLUTIONS
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.kv_quantisation import QuantisedKV
from dummy_forcing.core.methods.kv_quantisation.quantised_frames import FORMATS
from dummy_forcing.core.methods.plain import Unmerged
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.video import VideoShape, token_grid
from dummy_forcing.core.wan.forward import Runtime
from dummy_forcing.core.wan.shape import WAN_1_3B
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt
from dummy_forcing.kernels import attend_densely

MEMORIES = {"dense": Dense(), "Dummy Forcing 50%": DummyForcing()}
HELD = {"fp32": Unmerged(), "int8": QuantisedKV("int8"), "fp8": QuantisedKV("fp8")}

# Which numbers share a scale, as dimensions of [B, frames, tokens, heads, channels].
SHARES = {"a token of a head": (4,), "a channel in a frame": (2,), "a head in a frame": (2, 4)}


# Attention


def rounded(x: Tensor, kind: str, shared: tuple[int, ...]) -> Tensor:
    """x [B, frames, tokens, heads, channels] as it comes back from 8 bits with a scale for all of `shared`."""
    dtype, largest = FORMATS[kind]
    scale = x.abs().amax(shared, keepdim=True) / largest
    numbers = x / scale
    return (numbers.round() if dtype == torch.int8 else numbers.to(dtype).float()) * scale


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [B, L, H, D] over k and v [B, frames, tokens, H, D]."""
    k, v = k.flatten(1, 2), v.flatten(1, 2)
    return scaled_dot_product_attention(*(each.transpose(1, 2) for each in (q, k, v)))


def toy_cases() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Queries of the fifth chunk and the history before it, layer by layer."""
    model, frame, calls = open_toy_world(), 36, []
    before, latents = 12 * frame, 15

    def watched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if k.shape[1] == latents * frame:
            calls.append((q, *(each[:, :before].unflatten(1, (-1, frame)).clone() for each in (k, v))))
        return attend_densely(q, k, v)

    config = model.stream_config(latents, MemoryConfig())
    text, runtime = embed_prompt(toy_finding.PROMPTS[0]), Runtime(attention=watched)
    for _ in stream_video(model.backbone, text, config, SeededNoise(0), runtime=runtime):
        pass
    return calls[-len(model.backbone.blocks) :]  # of the clean pass


def random_cases() -> dict[str, list[tuple[Tensor, Tensor, Tensor]]]:
    """Random queries, keys and values with outliers of several kinds."""
    made = torch.Generator().manual_seed(0)
    q = 2 * torch.randn(1, 256, 4, 128, generator=made)
    k, v = torch.randn(2, 1, 10, 128, 4, 128, generator=made)
    channels = torch.ones(128)
    channels[[5, 40, 77]] = 20
    tokens = torch.ones(128, 1, 1)
    tokens[::50] = 20
    return {
        "random": [(q, k, v)],
        "random, 3 of 128 channels of keys times 20": [(q / channels, k * channels, v)],
        "random, 3 of 128 channels of values times 20": [(q, k, v * channels)],
        "random, 1 token in 50 of values times 20": [(q, k, v * tokens)],
    }


def attention_errors() -> list[dict]:
    """Norm of the error of the output over its norm, mean over layers."""
    cases, rows = {"toy world": toy_cases()} | random_cases(), []
    for (name, tensors), kind in itertools.product(cases.items(), FORMATS):
        for (of_keys, keys), (of_values, values) in itertools.product(SHARES.items(), repeat=2):
            if of_values == "a head in a frame":
                continue
            errors = []
            for q, k, v in tensors:
                exact = attention(q, k, v)
                found = attention(q, rounded(k, kind, keys), rounded(v, kind, values))
                errors.append(((found - exact).norm() / exact.norm()).item())
            rows.append(
                {"numbers": name, "format": kind, "keys": of_keys, "values": of_values, "error": fmean(errors)}
            )
    return rows


# Bytes


def sizes() -> list[dict]:
    """Bytes of keys and values at the end of a video of Wan 1.3B, 832 x 480, in bf16."""
    wan, grid = WAN_1_3B, token_grid(*RESOLUTIONS["480p"])
    video = VideoShape(wan.layers, wan.heads, 3, 21, grid=grid, head_dim=wan.head_dim, dtype=torch.bfloat16)
    keeps = {"dense, 21 latent frames": Dense(), "window 12": Window(3, 12), "Dummy Forcing 50%": DummyForcing()}
    rows = []
    for name, keep in keeps.items():
        plain, held = (
            forecast_kv(MemoryConfig(keep, merge=merge), video).final_bytes for merge in (Unmerged(), QuantisedKV())
        )
        rows.append({"memory": name, "bf16": plain, "8 bits": held, "ratio": held / plain})
    return rows


# Videos


@dataclass(frozen=True)
class Measured:
    """One video next to the fp32 one; PSNR in dB."""

    score: float
    loss: float
    psnr: float
    kv_bytes: int


Case = tuple[str, str]  # memory, how it is held


def generate(prompt: str, seed: int, memory: MemoryConfig, latents: int) -> tuple[Tensor, int]:
    """A video [F, H, W, 3] and the bytes of its keys and values at the end."""
    model = open_toy_world()
    decoder, frames, held = StreamingDecoder(model.vae), [], 0
    for event in stream_video(
        model.backbone, embed_prompt(prompt), model.stream_config(latents, memory), SeededNoise(seed)
    ):
        if isinstance(event, ChunkDone):
            frames.append(decoder.decode(event.latents)[0])
            held = event.kv_bytes
    return torch.cat(frames), held


def measure_video(prompt: str, seed: int, latents: int) -> dict[Case, Measured]:
    """One prompt and seed in every case; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    found = {}
    for name, keep in MEMORIES.items():
        best = None
        for held, merge in HELD.items():
            frames, kv_bytes = generate(prompt, seed, MemoryConfig(keep, merge=merge), latents)
            score = score_video(frames, prompt).total
            best = (frames, score) if best is None else best
            found[name, held] = Measured(score, best[1] - score, toy_finding.capped_psnr(frames, best[0]), kv_bytes)
    print(f"{prompt}, seed {seed}: done", flush=True)
    return found


_PAGE = """\
# Keys and values in 8 bits, measured

`dummy-forcing generate --kv int8`, `dummy-forcing bench dense+kv` and the node AR KV Quantisation hold the history
in 8 bits; the frames of the current chunk stay as they are (`core/methods/kv_quantisation`). It works with
every keep method except those whose sink averages frames.

* A frame is quantised once, after the clean pass of its chunk, and only copied from then on.
* One scale for each channel of each head in each frame, symmetric, fp32.
* In a pass, each layer's history is dequantised into a scratch buffer that all layers share, so attention runs as
  with any other memory. Opening frames that move along the time axis are moved there.

Made by `{command}` on {machine}, torch {torch},
{date}. Other work ran beside; nothing is said here about speed.

## What it says

{says}

## Bytes

Wan 1.3B, 832 x 480, chunks of 3, keys and values at the end of a video of 21 latent frames: arithmetic of the
stores, scales and scratch included.

| memory | bf16 | 8 bits | ratio |
|---|---|---|---|
{sizes}

## Videos

{videos} videos a row ({prompts} prompts, {seeds} a prompt), {latents} latent frames each, the same noise in every
row. Score: agreement with the prompt and the world's physics, 0 to 1. Loss: against fp32 with the same memory,
with its standard error. PSNR: to that video. A toy frame has 36 tokens and its model 6 layers, so that scales and
scratch weigh more than in a large model.

| memory | history | score | loss | PSNR, dB | KV, KiB |
|---|---|---|---|---|---|
{rows}

## Attention

Norm of the error of the output over its norm; for the toy world the mean over layers.

| numbers | format | a scale for: keys | values | error |
|---|---|---|---|---|
{errors}
"""


def says(results: dict) -> str:
    """The findings in words, with the figures of this run."""
    channel, token = "a channel in a frame", "a token of a head"
    names = "numbers", "format", "keys", "values"
    errors = {tuple(row[name] for name in names): row["error"] for row in results["errors"]}
    loud = "random, 3 of 128 channels of keys times 20"

    def error(*case: str) -> str:
        return f"{errors[case]:.1%}"

    by = {(row["memory"], row["held"]): row for row in results["videos"]}
    lines = [
        f"int8 is the better of the two at the same size: attention over the toy world's history is off by "
        f"{error('toy world', 'int8', channel, channel)}, with e4m3 by "
        f"{error('toy world', 'fp8', channel, channel)}.",
        f"Keys need a scale a channel once some channels are louder than others: "
        f"{error(loud, 'int8', channel, channel)} with it, {error(loud, 'int8', token, channel)} with one a token.",
        "For values neither wins: a scale a channel is better where channels differ, one a token where tokens do. "
        "They are held as keys are.",
    ]
    lines += [
        f"{memory}: int8 loses {by[memory, 'int8']['loss']:.3f} ± {by[memory, 'int8']['loss_error']:.3f} of the "
        f"score ({by[memory, 'int8']['psnr']:.1f} dB), fp8 {by[memory, 'fp8']['loss']:.3f} ± "
        f"{by[memory, 'fp8']['loss_error']:.3f} ({by[memory, 'fp8']['psnr']:.1f} dB)."
        for memory in MEMORIES
    ]
    return "\n".join(f"* {line}" for line in lines)


def report(results: dict) -> str:
    """The page for docs/."""
    return _PAGE.format(
        **results["setting"],
        says=says(results),
        sizes="\n".join(
            f"| {row['memory']} | {row['bf16'] / 2**20:,.0f} MiB | {row['8 bits'] / 2**20:,.0f} MiB | "
            f"{row['ratio']:.3f} |"
            for row in results["sizes"]
        ),
        rows="\n".join(
            f"| {row['memory']} | {row['held']} | {toy_finding.score_cells(row, 1)} | "
            f"{row['kv_bytes'] / 1024:,.0f} |"
            for row in results["videos"]
        ),
        errors="\n".join(
            f"| {row['numbers']} | {row['format']} | {row['keys']} | {row['values']} | {row['error']:.2%} |"
            for row in results["errors"]
        ),
    )


def main() -> None:
    """Measure, then write the results and the page."""
    options = toy_finding.read_options(__doc__)
    videos = toy_finding.score_rows(
        toy_finding.over_videos(measure_video, options.seeds, options.latents),
        itertools.product(MEMORIES, HELD),
        lambda case: {"memory": case[0], "held": case[1]},
        lambda measured: {"kv_bytes": round(fmean(each.kv_bytes for each in measured))},
    )
    with torch.inference_mode():
        errors = attention_errors()
    setting = toy_finding.video_setting("toy_kv_quantisation.py", options.seeds, options.latents)
    results = {"setting": setting, "videos": videos, "sizes": sizes(), "errors": errors}
    toy_finding.write_finding("toy_kv_quantisation", "kv_quantisation", results, report(results))


if __name__ == "__main__":
    main()
