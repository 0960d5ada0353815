"""Finds out by trying which latents a TAEHV decoder reads.

taew2_1 reads the backbone's latents, lighttaew2_1 raw ones, and HunyuanVideo's taehv those of another model. The
three files have the same tensor names and shapes and, once cast, the same dtypes (docs/decoders.md). So the latents
of a picture are decoded by the VAE and, in both scales, by the file's decoder: in the right scale it shows what the
VAE shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..media.quality import psnr
from .streaming import LatentScale, StreamingDecoder

_SIDE = 128  # pixels
_WORST_DB = 15.0
"""A grey picture reaches 13 dB against the trial picture. On videos, published decoders are said to reach about 30
in their own scale and, judging by their mean errors, less than 20 in the other (docs/decoders.md)."""

_OTHERS = {"taehv": "HunyuanVideo", "taecvx": "CogVideoX", "taeos": "Open-Sora"}  # 16 latent channels as well


def settle_scale(
    decoder_of: Callable[[LatentScale], StreamingDecoder],
    vae: StreamingDecoder,
    encode: Callable[[Tensor], Tensor],
    what: str,
) -> LatentScale:
    """The scale in which a decoder shows what the VAE shows.

    Args:
        decoder_of: gives the decoder that reads latents of a scale.
        vae: the VAE's own decoder.
        encode: the VAE's encoder, as for `rollout.ImageAnchor`.
        what: the decoder, beginning of messages.

    Raises:
        DummyForcingError: the decoder shows something else in both scales.
    """
    latents = encode(trial_picture())
    shown = vae.decode_apart(latents)
    found = {scale: psnr(decoder_of(scale).decode(latents), shown) for scale in LatentScale}
    best = max(found, key=lambda scale: -math.inf if math.isnan(found[scale]) else found[scale])
    if not found[best] >= _WORST_DB:
        raise DummyForcingError(
            f"{what} does not decode this VAE's latents: a test picture comes out as something else "
            f"({found[best]:.0f} dB, expected {_WORST_DB:.0f} or more); use a light decoder of Wan 2.1 such as "
            "taew2_1 or lighttaew2_1"
        )
    return best


def scale_by_name(name: str, stored: torch.dtype, what: str) -> LatentScale:
    """The scale of a published file, where there is no VAE to try it with.

    Args:
        name: of the file; it contains 'lighttae' for LightTAE and 'taew' for TAEHV's decoder of Wan 2.1.
        stored: type of the weights in the file, which decides if the name does not; TAEHV was published in float16.
        what: the decoder, beginning of messages.

    Raises:
        DummyForcingError: the name is that of another model's decoder with the same tensors.
    """
    name = name.lower()
    if "lighttae" in name:
        return LatentScale.RAW
    if "taew" in name:
        return LatentScale.NORMALISED
    for other, model in _OTHERS.items():
        if other in name:
            raise DummyForcingError(
                f"{what} has the name of a decoder for {model}; use lighttaew2_1 or taew2_1, or give the VAE to "
                "try it with"
            )
    return LatentScale.NORMALISED if stored is torch.float16 else LatentScale.RAW


def trial_picture() -> Tensor:
    """[1, 1, H, W, 3] fp32 in [0, 1]: soft colour gradients with a bright disc and a dark one."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, _SIDE), torch.linspace(-1, 1, _SIDE), indexing="ij")
    waves = [
        0.5 + 0.3 * torch.sin(a * x + b * y + c)
        for a, b, c in ((3.0, 1.0, 0.0), (-1.5, 3.0, 2.0), (2.0, -2.5, 4.0))
    ]
    picture = torch.stack(waves, dim=-1)
    picture[(x + 0.4) ** 2 + (y - 0.3) ** 2 < 0.09] = torch.tensor([0.95, 0.85, 0.2])
    picture[(x - 0.45) ** 2 + (y + 0.4) ** 2 < 0.06] = torch.tensor([0.1, 0.1, 0.35])
    return picture[None, None]
