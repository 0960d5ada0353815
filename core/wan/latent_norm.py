"""The fixed per-channel mean and standard deviation between the Wan 2.1 VAE and its backbones.

Backbones see (raw - mean) / std. The numbers are part of every Wan 2.1 checkpoint's contract (Wan 2.1 release,
`vae.py`; ComfyUI's `latent_formats.Wan21`).
"""

from __future__ import annotations

import torch
from torch import Tensor

_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


def _moments(like: Tensor) -> tuple[Tensor, Tensor]:
    mean = torch.tensor(_MEAN, device=like.device, dtype=torch.float32).view(1, -1, 1, 1, 1)
    std = torch.tensor(_STD, device=like.device, dtype=torch.float32).view(1, -1, 1, 1, 1)
    return mean, std


def normalise(raw: Tensor) -> Tensor:
    """Raw VAE latents [B, 16, t, h, w] -> what the backbone denoises, in the input's dtype."""
    mean, std = _moments(raw)
    return ((raw.float() - mean) / std).to(raw.dtype)


def denormalise(latents: Tensor) -> Tensor:
    """Backbone latents [B, 16, t, h, w] -> raw VAE latents, in the input's dtype."""
    mean, std = _moments(latents)
    return (latents.float() * std + mean).to(latents.dtype)
