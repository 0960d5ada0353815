"""From video frames to latents: start images, videos that go on, videos to change."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..decoders.vae_stream import VAEState, encode_chunk
from ..wan.latent_norm import normalise
from .config import StreamConfig
from .rollout import ImageAnchor


@torch.inference_mode()
def encode_clip(vae: nn.Module, frames: Tensor) -> Tensor:
    """Encode one clip.

    Args:
        vae: module tree with Wan 2.1 VAE names, encoder included.
        frames: [B, T, H, W, 3] in [0, 1], T = 1 + 4n, H and W multiples of 16.

    Returns:
        latents [B, 16, 1 + n, H / 8, W / 8] in the backbone's scale, fp32.
    """
    weight = next(vae.parameters())
    pixels = frames.to(weight).movedim(-1, 1).mul(2).sub(1)
    return normalise(encode_chunk(vae, pixels, VAEState()).float())


def image_anchor(
    encode: Callable[[Tensor], Tensor], config: StreamConfig, ready: Callable[[], object] = lambda: None
) -> ImageAnchor | None:
    """What encodes the first context frame of a rollout; None for videos without rollouts.

    encode, ready: as `ImageAnchor`'s.
    """
    if config.rollout is None or not config.rollout.context:
        return None
    return ImageAnchor(encode, config.rollout.context, ready)
