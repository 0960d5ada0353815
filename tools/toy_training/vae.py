"""Stage 1: the toy world's Wan-VAE-shaped autoencoder, trained on small crops of rendered scenes.

Single images come first: they cost a ninth of a clip and teach everything but motion. The temporal layers start as
"repeat the frame", so the step to clips loses nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dummy_forcing.core.decoders.vae_stream import VAEState, decode_chunk, encode_chunk
from dummy_forcing.core.wan.latent_norm import denormalise, normalise
from dummy_forcing.core.wan.vae import Resample, WanVAE, WanVAEShape
from dummy_forcing.core.world.render import render
from dummy_forcing.core.world.scene import SIZE, centres, draw_scenes

from .muon import Optimisers
from .progress import Stage, learning_rate, step_generator, update_average


@dataclass(frozen=True)
class VAETraining:
    """Hyper-parameters of stage 1."""

    image_steps: int = 700
    steps: int = 1800  # images included
    image_batch: int = 16
    batch: int = 4
    crop: int = 48
    frames: int = 9
    muon_rate: float = 0.02
    adam_rate: float = 4e-3
    latent_noise: float = 0.2  # makes the decoder forgive small errors of the backbone
    noise_ramp: tuple[int, int] = (300, 1100)  # steps between which the latent noise grows
    latent_penalty: float = 1e-3
    average: float = 0.998
    validate_every: int = 200


def train_vae(folder: Path, config: VAETraining, seed: int) -> WanVAE:
    """Train, or go on training, and return the averaged weights."""
    stage = Stage(folder, "vae")
    torch.manual_seed(seed)
    model = channels_last(_repeat_frames(WanVAE(WanVAEShape(width=8))))
    average = copy.deepcopy(model)
    optimisers = Optimisers(model, config.muon_rate, config.adam_rate)
    parts = {"model": model, "average": average, "optimisers": optimisers}
    first = stage.resume(**parts)
    for step in range(first, config.steps):
        optimisers.set_rate(learning_rate(step, config.steps))
        loss = _loss(model, config, step, step_generator(seed, step))
        optimisers.step(loss)
        update_average(average, model, step, config.average)
        if (step + 1) % config.validate_every == 0 or step + 1 == config.steps:
            stage.log(step=step + 1, loss=loss.item(), psnr=validation_psnr(average))
            stage.save(step + 1, **parts)
    return average


def channels_last(vae: WanVAE) -> WanVAE:
    """Put 3-D convolution weights into the layout that CPU convolutions are fastest with."""
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
    return vae


@torch.no_grad()
def validation_psnr(vae: WanVAE) -> float:
    """PSNR in dB of reconstructing two whole held-out clips of 17 frames."""
    clip = to_pixels(render(draw_scenes(2, torch.Generator().manual_seed(99)), torch.arange(20, 37)))
    rebuilt = decode_chunk(vae, encode_chunk(vae, clip, VAEState()), VAEState()).clamp(-1, 1)
    return float(-10 * torch.log10(F.mse_loss(rebuilt, clip) / 4))


def to_pixels(frames: Tensor) -> Tensor:
    """Rendered [B, F, H, W, 3] in [0, 1] -> VAE input [B, 3, F, H, W] in [-1, 1]."""
    return frames.permute(0, 4, 1, 2, 3) * 2 - 1


@torch.no_grad()
def _repeat_frames(vae: WanVAE) -> WanVAE:
    """Start the temporal layers as identities: downsampling takes the newest frame, upsampling repeats it."""
    for module in vae.modules():
        if isinstance(module, Resample) and hasattr(module, "time_conv"):
            weight = module.time_conv.weight.zero_()
            channels = weight.shape[1]
            for half in range(weight.shape[0] // channels):
                weight[half * channels : (half + 1) * channels, :, -1, 0, 0] = torch.eye(channels)
            module.time_conv.bias.zero_()
    return vae


def _loss(model: WanVAE, config: VAETraining, step: int, generator: torch.Generator) -> Tensor:
    clip = _draw_crops(config, step < config.image_steps, generator)
    latents = normalise(encode_chunk(model, clip, VAEState()))
    begin, end = config.noise_ramp
    strength = config.latent_noise * min(1.0, max(0.0, (step - begin) / (end - begin)))
    noise = strength * torch.randn(latents.shape, generator=generator)
    error = decode_chunk(model, denormalise(latents + noise), VAEState()) - clip
    return error.abs().mean() + 2 * error.square().mean() + config.latent_penalty * latents.square().mean()


def _draw_crops(config: VAETraining, images: bool, generator: torch.Generator) -> Tensor:
    """Clips of `crop` pixels that start at any time of a scene, most of them around an object."""
    batch, length = (config.image_batch, 1) if images else (config.batch, config.frames)
    scenes = draw_scenes(batch, generator)
    start = int(torch.randint(0, 90, (1,), generator=generator))
    frames = torch.arange(start, start + length)
    clip = to_pixels(render(scenes, frames))
    x, y = centres(scenes, frames[:1])
    corners = torch.rand(batch, 2, generator=generator) * (SIZE - config.crop)
    follow = torch.rand(batch, generator=generator) < 0.75
    jitter = (torch.rand(batch, 2, generator=generator) - 0.5) * config.crop * 0.7
    around = torch.stack([y[:, 0, 0], x[:, 0, 0]], 1) - config.crop / 2 + jitter
    corners = torch.where(follow[:, None], around, corners).clamp(0, SIZE - config.crop).long().tolist()
    crops = [
        clip[i, :, :, top : top + config.crop, left : left + config.crop] for i, (top, left) in enumerate(corners)
    ]
    return torch.stack(crops)
