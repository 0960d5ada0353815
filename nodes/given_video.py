"""Pictures, videos and latents that a video begins with or is made from, as latents."""

from __future__ import annotations

from typing import Any

import comfy.utils
from torch import Tensor

from ..core.errors import DummyForcingError
from ..core.wan.vae_stream import FRAMES_PER_LATENT
from .plan import VideoPlan


def count_latents(given: Any) -> int:
    """Latent frames of an IMAGE, VIDEO or LATENT."""
    if isinstance(given, dict):
        return _samples(given).shape[2]
    return 1 + (len(_images(given)) - 1) // FRAMES_PER_LATENT


def to_latents(given: Any, vae, plan: VideoPlan, channels: int, what: str) -> Tensor:
    """Raw latents [1, C, F, h, w] of the plan's size.

    Pictures are scaled and cropped to it and encoded; latents have to fit.

    Args:
        given: IMAGE, VIDEO or LATENT.
        channels: latent channels of the model.
        what: beginning of messages.
    """
    if isinstance(given, dict):
        latents = _samples(given)
        expected = (1, channels, latents.shape[2], *plan.latent_size)
        if tuple(latents.shape) != expected:
            raise DummyForcingError(
                f"{what} has the latent shape {list(latents.shape)}, the video {list(expected)}; use one video of "
                "the same size and model"
            )
        return latents
    images = _images(given)
    used = 1 + (len(images) - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT
    pixels = images[:used, ..., :3].movedim(-1, 1)
    scaled = comfy.utils.common_upscale(pixels, plan.width, plan.height, "lanczos", "center")
    return vae.encode(scaled.movedim(1, -1))


def _samples(latent: dict) -> Tensor:
    samples = latent["samples"]
    if samples.ndim != 5:
        raise DummyForcingError(
            f"the latent has the shape {list(samples.shape)}; expected a video latent [batch, channels, frames, "
            "height, width]"
        )
    return samples


def _images(given: Any) -> Tensor:
    return given.get_components().images if hasattr(given, "get_components") else given
