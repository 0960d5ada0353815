"""Stage 3: the toy world's causal Wan, trained by teacher forcing with flow matching."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dummy_forcing.core.stream.sigmas import shift_sigma, warp_steps
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.forward import encode_prompt, forward_chunk
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.core.world.vocabulary import TEXT_DIM

from .latents import LatentPool
from .muon import Optimisers
from .progress import Stage, learning_rate, step_generator, update_average
from .teacher_forcing import TeacherForcing, TeacherForcingClock

SHAPE = WanShape(dim=192, heads=6, layers=6, ffn_dim=1024, text_dim=TEXT_DIM)
CHUNK_FRAMES = 3
SHIFT = 5.0
STEPS = (1000, 750, 500, 250)
_EMBEDDINGS = ("patch_embedding", "text_embedding.0", "time_embedding.0", "head.head")


@dataclass(frozen=True)
class BackboneTraining:
    """Hyper-parameters of stage 3."""

    steps: int = 3100
    mixes: tuple[tuple[int, int, int], ...] = ((0, 2, 32), (2000, 4, 12))
    """(from step, whole clips, first chunks) a step. First chunks have no past to copy from and need the most
    examples; once they look right, it is shapes that pass behind one another which need them."""
    scenes: int = 384  # whole scenes encoded before training; one more every second step
    first_scenes: int = 1500  # first chunks encoded before training; two more every step
    muon_rate: float = 0.02
    adam_rate: float = 2e-3
    sampled_levels: float = 0.75  # share of chunks at exactly the sampler's noise levels
    context_noise: float = 0.15  # most noise on the clean past, against drift
    short_context: float = 0.5  # share of steps in which clips see frame 0 and one chunk of their past only
    average: float = 0.995
    validate_every: int = 100

    def mix(self, step: int) -> tuple[int, int]:
        """Whole clips and first chunks of a step."""
        return next((clips, firsts) for start, clips, firsts in reversed(self.mixes) if step >= start)


def train_backbone(
    folder: Path, clips: LatentPool, openings: LatentPool, config: BackboneTraining, seed: int
) -> CausalWan:
    """Train, or go on training, on whole clips and on first chunks; returns the averaged weights in fp32."""
    stage = Stage(folder, "backbone")
    torch.manual_seed(seed)
    model = _initial(SHAPE)
    average = copy.deepcopy(model)
    optimisers = Optimisers(model, config.muon_rate, config.adam_rate, adam_names=_EMBEDDINGS)
    worker = copy.deepcopy(model).bfloat16()  # computes in bf16; master weights stay fp32
    parts = {"model": model, "average": average, "optimisers": optimisers}
    first = stage.resume(**parts)
    held_out = [pool.batch_of([pool.scene(-1 - i) for i in range(6)]) for pool in (clips, openings)]
    for step in range(first, config.steps):
        clips.grow_to(config.scenes + step // 2)
        openings.grow_to(config.first_scenes + 2 * step)
        optimisers.set_rate(learning_rate(step, config.steps))
        generator = step_generator(seed, step)
        whole, first_chunks = config.mix(step)
        batches = [clips.draw(whole, generator), openings.draw(first_chunks, generator)]
        loss = _train_step(model, worker, optimisers, batches, config, generator)
        update_average(average, model, step, config.average)
        if (step + 1) % config.validate_every == 0 or step + 1 == config.steps:
            stage.log(step=step + 1, loss=loss, **_validate(average, *held_out))
            clips.save()
            openings.save()
            stage.save(step + 1, **parts)
    return average


@torch.no_grad()
def _initial(shape: WanShape) -> CausalWan:
    """Random weights; the flow starts at zero."""
    model = CausalWan(shape)
    model.head.head.weight.zero_()
    model.head.head.bias.zero_()
    return model


def _train_step(model, worker, optimisers: Optimisers, batches, config: BackboneTraining, generator) -> float:
    for fast, master in zip(worker.parameters(), model.parameters(), strict=True):
        fast.data.copy_(master.data)
        fast.grad = None
    total = 0.0
    memory = TeacherForcing(bool(torch.rand((), generator=generator) < config.short_context))
    for latents, text in batches:
        levels = _draw_levels(len(latents), latents.shape[2], config, generator)
        loss = _loss(worker, latents, text, levels, memory, config.context_noise, generator)
        loss.backward()
        total += loss.item()
    for fast, master in zip(worker.parameters(), model.parameters(), strict=True):
        master.grad = fast.grad.float()
    optimisers.apply()
    return total / len(batches)


def _draw_levels(batch: int, frames: int, config: BackboneTraining, generator: torch.Generator) -> Tensor:
    """A noise level for every chunk, [batch, chunks]: mostly those of the sampler, else any."""
    shape = (batch, frames // CHUNK_FRAMES)
    levels = torch.tensor(warp_steps(STEPS, SHIFT)[:-1])
    sampled = levels[torch.randint(len(levels), shape, generator=generator)]
    anywhere = torch.rand(shape, generator=generator)
    anywhere = SHIFT * anywhere / (1 + (SHIFT - 1) * anywhere)
    return torch.where(torch.rand(shape, generator=generator) < config.sampled_levels, sampled, anywhere)


def _loss(
    model, latents: Tensor, text: Tensor, levels: Tensor, memory: TeacherForcing, context_noise: float, generator
) -> Tensor:
    """Mean squared error of the flow over all noisy frames."""
    batch, _, frames, height, width = latents.shape
    sigma = levels.repeat_interleave(CHUNK_FRAMES, dim=1)
    noise = torch.randn(latents.shape, generator=generator)
    x = torch.lerp(latents, noise, sigma[:, None, :, None, None])
    t = 1000 * sigma
    clock = TeacherForcingClock(frames, CHUNK_FRAMES, SHAPE.tokens_per_frame(height, width))
    if not clock.single:
        # half of the clips get a past that is slightly off, as a generated past will be
        strength = context_noise * (2 * torch.rand(batch, generator=generator) - 1).clamp(min=0)
        clean = latents + strength.view(-1, 1, 1, 1, 1) * torch.randn(latents.shape, generator=generator)
        x, t = torch.cat([clean, x], dim=2), torch.cat([torch.zeros_like(t), t], dim=1)
    dtype = next(model.parameters()).dtype
    prompt = encode_prompt(model, text.to(dtype))
    flow = forward_chunk(model, x.to(dtype), t, prompt, memory, clock)[:, :, -frames:]
    return (flow.float() - (noise - latents)).square().mean()


@torch.no_grad()
def _validate(model: CausalWan, clips, openings) -> dict[str, float]:
    """Flow error on held-out scenes at each of the sampler's noise levels, of whole clips and of first chunks."""
    model = copy.deepcopy(model).bfloat16()
    losses = {}
    for name, (latents, text) in (("clip", clips), ("first", openings)):
        for step in STEPS:
            sigma = shift_sigma(step / 1000, SHIFT)
            levels = torch.full((len(latents), latents.shape[2] // CHUNK_FRAMES), sigma)
            generator = torch.Generator().manual_seed(5)
            loss = _loss(model, latents, text, levels, TeacherForcing(), 0.0, generator)
            losses[f"{name}_{sigma:.3f}"] = float(loss)
    return losses
