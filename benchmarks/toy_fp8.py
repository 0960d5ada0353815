"""What FP8 linear layers cost on the toy world: `OMP_NUM_THREADS=1 python benchmarks/toy_fp8.py`.

Errors of weights and of layer outputs under several ways to scale, on random weights, on random weights with
outliers and on the toy world's own layers with the activations of a video; then videos of the same prompts and
noise with exact and with FP8 layers. Writes benchmarks/results/toy_fp8.json and docs/fp8.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
import toy_finding
from torch import Tensor, nn
from torch.nn import functional

from dummy_forcing.core.checkpoints.layouts.fp8_weights import quantise_tensor
from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt
from dummy_forcing.kernels.fp8 import E4M3_MAX, dequantise_rows, fp8_path, quantise_rows

KEPT_CALLS = 8  # of every layer
LOUD = 1000.0

# How numbers come back from e4m3.


def exact(x: Tensor) -> Tensor:
    """No rounding at all."""
    return x


def by_row(x: Tensor) -> Tensor:
    """A scale for each row: output channels of weights, tokens of activations."""
    return dequantise_rows(*quantise_rows(x), torch.float32)


def by_tensor(x: Tensor) -> Tensor:
    """One scale for all."""
    parts = quantise_tensor("x", x)
    return parts["x"].float() * parts["x_scale"]


def unscaled(x: Tensor) -> Tensor:
    """As they are, cut at the largest e4m3 number; what ComfyUI does to activations."""
    return x.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).float()


WEIGHTS = {"a channel": by_row, "a tensor": by_tensor, "none": unscaled}
LAYERS = {
    "a token": {"a channel": (by_row, by_row), "a tensor": (by_row, by_tensor)},
    "none (ComfyUI)": {"a channel": (unscaled, by_row), "a tensor": (unscaled, by_tensor)},
    "16 bits, exact": {"a channel": (exact, by_row), "a tensor": (exact, by_tensor)},
}


def distance(found: Tensor, wanted: Tensor) -> float:
    """Norm of the difference over the norm."""
    return ((found - wanted).norm() / wanted.norm()).item()


def weight_sets() -> dict[str, Tensor]:
    """Matrices of Wan 1.3B's width, all but the last drawn at random."""
    made = torch.Generator().manual_seed(0)
    normal = torch.randn(1536, 1536, generator=made) * 1536**-0.5
    rare = torch.rand(1536, 1, generator=made) < 0.005
    spread = torch.randn(1536, 1, generator=made)
    toy = torch.cat(
        [part.weight.flatten(1) for part in linears(open_toy_world().backbone) if part.in_features == 192]
    )
    return {
        "normal": normal,
        "normal, 1 channel in 200 times 30": torch.where(rare, 30 * normal, normal),
        "normal, 1 channel in 200 times 30,000": torch.where(rare, 30000 * normal, normal),
        "normal, channels times exp(2 normal)": normal * (2 * spread).exp(),
        "toy world": toy,
    }


def weight_errors() -> list[dict]:
    """Error of the whole matrix, and of the median channel."""
    rows = []
    for (name, weight), (scale, method) in itertools.product(weight_sets().items(), WEIGHTS.items()):
        found = method(weight)
        channels = (found - weight).norm(dim=1) / weight.norm(dim=1)
        rows.append(
            {"weights": name, "scale": scale, "whole": distance(found, weight), "channel": channels.median().item()}
        )
    return rows


def linears(backbone: CausalWan) -> list[nn.Linear]:
    """The linear layers of the blocks."""
    return [part for part in backbone.blocks.modules() if isinstance(part, nn.Linear)]


def activations() -> list[tuple[nn.Linear, Tensor]]:
    """The toy world's layers and what they see in a short video, [tokens, channels]."""
    model, seen = open_toy_world(), {}
    for part in linears(model.backbone):
        calls = seen.setdefault(part, [])
        part.register_forward_hook(lambda _, given, __, calls=calls: calls.append(given[0][0]))
    for _ in stream_video(
        model.backbone, embed_prompt(toy_finding.PROMPTS[0]), model.stream_config(9, MemoryConfig()), SeededNoise(0)
    ):
        pass
    return [(part, torch.cat(calls[:: max(1, len(calls) // KEPT_CALLS)])) for part, calls in seen.items()]


def layer_errors() -> list[dict]:
    """Mean error of a layer's product over all layers, as the activations are and with one loud token."""
    seen, rows = activations(), []
    for tokens, ways in LAYERS.items():
        for channels, (of_x, of_weight) in ways.items():
            errors: dict[str, list[float]] = {"plain": [], "loud": []}
            for part, x in seen:
                loud = x.clone()
                loud[0] *= LOUD
                weight = of_weight(part.weight)
                errors["plain"].append(distance(of_x(x) @ weight.T, x @ part.weight.T))
                token = of_x(loud)[0] @ weight.T
                errors["loud"].append(distance(token, loud[0] @ part.weight.T))
            rows.append({"activations": tokens, "weights": channels} | {k: fmean(v) for k, v in errors.items()})
    return rows


# Videos


class HostLinear(nn.Module):
    """A layer as ComfyUI runs `fp8_scaled`: a scale a tensor, activations as they are."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = nn.Parameter(by_tensor(linear.weight), requires_grad=False), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return functional.linear(unscaled(x), self.weight, self.bias)


def host_linears(backbone: CausalWan) -> CausalWan:
    """Replace the blocks' linear layers."""
    for name, part in list(backbone.blocks.named_modules()):
        if isinstance(part, nn.Linear):
            backbone.blocks.set_submodule(name, HostLinear(part))
    return backbone


def rounded_weights(backbone: CausalWan) -> CausalWan:
    """All weights stored in e4m3 without scales, products exact: ComfyUI's fp8_e4m3fn."""
    for parameter in backbone.parameters():
        parameter.copy_(unscaled(parameter))
    return backbone


MODELS: dict[str, Callable[[], CausalWan]] = {
    "fp32": lambda: open_toy_world().backbone,
    "bf16": lambda: open_toy_world(dtype=torch.bfloat16).backbone,
    "FP8 linears": lambda: open_toy_world(fp8=True).backbone,
    "FP8 linears as ComfyUI runs them (fp8_scaled)": lambda: host_linears(open_toy_world().backbone),
    "weights only stored in e4m3 (fp8_e4m3fn)": lambda: rounded_weights(open_toy_world().backbone),
}


@dataclass(frozen=True)
class Measured:
    """One video next to the fp32 one; PSNR in dB."""

    score: float
    loss: float
    psnr: float


@torch.inference_mode()
def generate(backbone: CausalWan, prompt: str, seed: int, latents: int) -> Tensor:
    """A video [F, H, W, 3]; noise, latents and decoder in fp32."""
    model, dtype = open_toy_world(), backbone.head.head.weight.dtype
    decoder, frames = StreamingDecoder(model.vae), []
    config = model.stream_config(latents, MemoryConfig())
    for event in stream_video(backbone, embed_prompt(prompt).to(dtype), config, SeededNoise(seed)):
        if isinstance(event, ChunkDone):
            frames.append(decoder.decode(event.latents.float())[0])
    return torch.cat(frames)


def measure_video(prompt: str, seed: int, latents: int) -> dict[str, Measured]:
    """One prompt and seed with every model; runs in a worker process on one thread."""
    torch.set_num_threads(1)
    found, best = {}, None
    for name, make in MODELS.items():
        with torch.inference_mode():
            backbone = make()
        frames = generate(backbone, prompt, seed, latents)
        score = score_video(frames, prompt).total
        best = (frames, score) if best is None else best
        found[name] = Measured(score, best[1] - score, toy_finding.capped_psnr(frames, best[0]))
    print(f"{prompt}, seed {seed}: done", flush=True)
    return found


_PAGE = """\
# FP8 linear layers, measured

Light Forcing runs the linear layers of the blocks (q, k, v, o of both attentions, both layers of the feed-forward
part) in FP8: numbers in e4m3, multiplied by the tensor cores of Ada, Hopper and Blackwell GPUs. This package uses
FP8 in three ways:

* `dummy-forcing generate --fp8`, also for `profile` and `bench`: weights have a scale for each output channel;
  activations are quantised in every call, with a scale for each token. `torch._scaled_mm` multiplies them where the
  device and PyTorch support such scales; elsewhere the same numbers are multiplied in 16 or 32 bits
  (`kernels/fp8.py`). Weights are quantised one by one while they are loaded, after LoRAs have been merged. A log
  line says which of the two products runs; in the report it is "fp8" under "model".
* Load AR Video Model, `weight_dtype` fp8_scaled: ComfyUI's own quantised layers, so LoRA, offload and dynamic VRAM
  work as usual. These layers support one scale per tensor for weights; without calibrated scales they quantise
  activations unscaled and cut them at ±448. LoRAs that ComfyUI applies are added to the quantised weights.
* `dummy-forcing convert --dtype fp8` writes a file with such layers for ComfyUI's own Load Diffusion Model node.

There was no GPU to measure on, so this page says nothing about speed. Light Forcing reports a speed-up of 1.16
times end to end on an RTX 5090 and next to none on an H100 ([its table](references.md#light-forcings-fp8)).

Made by `{command}` on {machine}, torch {torch}, products by
{path}, {date}. Other work ran on the machine at the same time.

## What it says

{says}

## Videos

{videos} videos a row ({prompts} prompts, {seeds} a prompt), {latents} latent frames each, the same noise in every
row, dense memory. Score: agreement with the prompt and the world's physics, 0 to 1. Loss: score lost against fp32,
with its standard error. PSNR: against the fp32 video.

| model | score | loss | PSNR, dB |
|---|---|---|---|
{rows}

## Weights

Norm of the error divided by the norm of the weights: for the whole matrix, and for the median output channel.

| weights | scale for | whole | median channel |
|---|---|---|---|
{weights}

## Outputs of layers

Error of a layer's product, mean over the toy world's {layers} layers with the activations of a video.
"Loud token": the error of one token that was made {loud:,.0f} times as large as it was.

| scale of activations for | of weights for | all tokens | loud token |
|---|---|---|---|
{products}
"""


def says(results: dict) -> str:
    """The findings in words, with the figures of this run."""
    products = {(row["activations"], row["weights"]): row for row in results["layers"]}
    ours, host = products["a token", "a channel"], products["none (ComfyUI)", "a tensor"]
    by = {row["model"]: row for row in results["videos"]}
    lines = [
        f"{name}: {by[name]['loss']:.3f} ± {by[name]['loss_error']:.3f} of the score lost, "
        f"{by[name]['psnr']:.1f} dB to the video in fp32."
        for name in MODELS
        if name != "fp32"
    ]
    lines.append(
        "For weights, one scale per tensor is as good as one per channel even where channels differ by a factor of "
        "30, but not where they differ by a factor of 30,000: e4m3 is a floating-point type, whose relative error "
        "does not depend on the scale. That is why Load AR Video Model uses ComfyUI's own layers and not ours."
    )
    lines.append(
        f"A layer's product is off by {ours['plain']:.1%} with a scale per token and by {host['plain']:.1%} in "
        f"ComfyUI's way. The two differ for tokens beyond ±448: {ours['loud']:.1%} against {host['loud']:.0%}. "
        "Whether a published checkpoint has such tokens was not measured; no published checkpoint was on the "
        "machine."
    )
    return "\n".join(f"* {line}" for line in lines)


def report(results: dict) -> str:
    """The page for docs/."""
    setting = results["setting"]
    return _PAGE.format(
        **setting,
        says=says(results),
        loud=LOUD,
        rows="\n".join(f"| {row['model']} | {toy_finding.score_cells(row, 1)} |" for row in results["videos"]),
        weights="\n".join(
            f"| {row['weights']} | {row['scale']} | {row['whole']:.2%} | {row['channel']:.2%} |"
            for row in results["weights"]
        ),
        products="\n".join(
            f"| {row['activations']} | {row['weights']} | {row['plain']:.2%} | {row['loud']:.2%} |"
            for row in results["layers"]
        ),
    )


def main() -> None:
    """Measure, then write the results and the page."""
    options = toy_finding.read_options(__doc__)
    with torch.inference_mode():
        weights, layers = weight_errors(), layer_errors()
    measured = toy_finding.over_videos(measure_video, options.seeds, options.latents)
    videos = toy_finding.score_rows(measured, MODELS, lambda name: {"model": name})
    setting = {
        **toy_finding.video_setting("toy_fp8.py", options.seeds, options.latents),
        "layers": len(linears(open_toy_world().backbone)),
        "path": fp8_path(torch.device("cpu"))[0],
    }
    results = {"setting": setting, "videos": videos, "weights": weights, "layers": layers}
    toy_finding.write_finding("toy_fp8", "fp8", results, report(results))


if __name__ == "__main__":
    main()
