"""Stage 2: latents of training scenes, encoded once and kept on disk while the backbone trains.

Scene i is drawn from the seed and i alone, so the pool may grow while training goes on and after a restart.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from dummy_forcing.core.decoders.vae_stream import VAEState, encode_chunk
from dummy_forcing.core.wan.latent_norm import denormalise, normalise
from dummy_forcing.core.wan.vae import WanVAE
from dummy_forcing.core.world.render import render
from dummy_forcing.core.world.scene import draw_scenes
from dummy_forcing.core.world.vocabulary import embed_prompt, write_prompt

from .progress import step_generator
from .vae import channels_last, to_pixels


class LatentPool:
    """Normalised latents [16, F, h, w] and text embeddings of scenes 0 .. len - 1, stored as bf16."""

    def __init__(self, path: Path | None, vae: WanVAE, latent_frames: int, seed: int):
        self._path = path
        self._vae = channels_last(copy.deepcopy(vae).bfloat16())
        self._frames = torch.arange(1 + 4 * (latent_frames - 1))
        self._seed = seed
        self.latents: list[Tensor] = []
        self.texts: list[Tensor] = []
        if path and path.exists():
            saved = torch.load(path, weights_only=True)
            self.latents, self.texts = list(saved["latents"]), list(saved["texts"])

    def __len__(self) -> int:
        return len(self.latents)

    def grow_to(self, count: int) -> None:
        """Encode scenes until there are `count`."""
        while len(self) < count:
            latents, text = self.scene(len(self))
            self.latents.append(latents)
            self.texts.append(text)

    @torch.no_grad()
    def scene(self, index: int) -> tuple[Tensor, Tensor]:
        """Latents and text embedding of scene `index`, freshly encoded."""
        scenes = draw_scenes(1, step_generator(self._seed + 7, index))
        pixels = to_pixels(render(scenes, self._frames)).bfloat16()
        latents = normalise(encode_chunk(self._vae, pixels, VAEState()).float())
        return latents[0].bfloat16(), embed_prompt(write_prompt(scenes.objects(0)))[0]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random batch: fp32 latents [B, 16, F, h, w] and texts [B, tokens, text_dim]."""
        chosen = torch.randint(len(self), (count,), generator=generator).tolist()
        return self.batch_of([(self.latents[i], self.texts[i]) for i in chosen])

    @staticmethod
    def batch_of(scenes: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Stack scenes to a batch as `draw` returns it."""
        latents, texts = zip(*scenes, strict=True)
        return torch.stack(latents).float(), torch.stack(texts)

    def save(self) -> None:
        torch.save({"latents": torch.stack(self.latents), "texts": torch.stack(self.texts)}, self._path)


@torch.no_grad()
def centre_latents(vae: WanVAE, seed: int, scenes: int = 24) -> None:
    """Give normalised latents zero mean and unit variance under Wan 2.1's fixed statistics, exactly.

    A shift per channel and one common scale are folded into the 1x1 convolutions on both sides of the latent. The
    scale is common so that channels that carry little keep carrying little.
    """
    pool = LatentPool(None, vae, 9, seed + 1)
    latents, _ = pool.batch_of([pool.scene(i) for i in range(scenes)])
    mu = latents.mean(dim=(0, 2, 3, 4))
    sigma = (latents - mu.view(1, -1, 1, 1, 1)).square().mean().sqrt()
    mean = denormalise(torch.zeros(1, len(mu), 1, 1, 1)).flatten()
    std = denormalise(torch.ones(1, len(mu), 1, 1, 1)).flatten() - mean
    centre = mean + std * mu  # the mean raw latent before; `mean` is what it shall be
    channels = len(mu)
    vae.conv1.weight[:channels] /= sigma
    vae.conv1.bias[:channels] = (vae.conv1.bias[:channels] - centre) / sigma + mean
    vae.conv2.bias += vae.conv2.weight[:, :, 0, 0, 0] @ (centre - sigma * mean)
    vae.conv2.weight *= sigma
