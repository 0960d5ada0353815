"""What is measured: model shapes with random weights, and picture sizes.

Random weights in the right shapes cost exactly what trained ones cost; they say nothing about quality.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..decoders.tae import TAE, TAEShape
from ..video import PIXELS_PER_LATENT
from ..wan.container import CausalWan
from ..wan.shape import WAN_1_3B, WAN_14B, WanShape
from ..wan.vae import WanVAE, WanVAEShape


@dataclass(frozen=True)
class BenchShape:
    """A backbone and what decodes its latents. latent_size: height and width if none is asked for."""

    wan: WanShape
    vae: WanVAEShape | TAEShape
    latent_size: tuple[int, int]


def _pixels(height: int, width: int) -> tuple[int, int]:
    return height // PIXELS_PER_LATENT, width // PIXELS_PER_LATENT


RESOLUTIONS = {"480p": _pixels(480, 832), "720p": _pixels(720, 1280), "1080p": _pixels(1088, 1920)}
"""Latent height and width by name. 1080 rows cannot be cut into whole patches, so Wan models make 1088 rows."""

SHAPES = {
    "wan-1.3b": BenchShape(WAN_1_3B, WanVAEShape(), RESOLUTIONS["480p"]),
    "wan-14b": BenchShape(WAN_14B, WanVAEShape(), RESOLUTIONS["480p"]),
    "toy": BenchShape(
        WanShape(dim=192, heads=6, layers=6, ffn_dim=1024, text_dim=16), WanVAEShape(width=8), _pixels(96, 96)
    ),
}
"""Shapes by name; `toy` is the shape of the toy world's shipped weights."""


DECODERS = {"wan": WanVAEShape(), "lightvae": WanVAEShape(width=24), "tae": TAEShape()}
"""Decoders of 16 channels by name: the Wan 2.1 VAE, lightvaew2_1, and taew2_1 or lighttaew2_1."""


def backbone_outline(shape: WanShape) -> CausalWan:
    """The backbone on the meta device: all sizes, no memory."""
    with torch.device("meta"):
        return CausalWan(shape).eval().requires_grad_(False)


def decoder_outline(shape: WanVAEShape | TAEShape) -> WanVAE | TAE:
    """A decoder on the meta device; a bench only decodes, so the VAE's encoder is left out."""
    with torch.device("meta"):
        if isinstance(shape, TAEShape):
            return TAE(shape).eval().requires_grad_(False)
        vae = WanVAE(shape).eval().requires_grad_(False)
    del vae.encoder
    return vae


def with_random_weights(outline: nn.Module, seed: int, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Allocate an outline's parameters and fill them with values of about the magnitude of trained ones.

    Matrices are normal with variance 1 / inputs, gains 1, biases 0; activations stay finite at any depth.
    """
    module = outline.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1 and not name.endswith("gamma"):
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return module


def parameter_bytes(outline: nn.Module, dtype: torch.dtype) -> int:
    """Bytes of all parameters in a dtype."""
    return sum(parameter.numel() for parameter in outline.parameters()) * dtype.itemsize
