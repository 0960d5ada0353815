"""Pictures, videos and latents that a video begins with or is made from, as latents."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import comfy.utils
from torch import Tensor

from ..core.errors import DummyForcingError
from ..core.media.frames import to_unit
from ..core.media.reading import Reading, read_clip
from ..core.stream.broken import check_numbers
from ..core.stream.prompt_times import FRAME_RATE
from ..core.stream.tally import pixel_frames
from ..core.wan.vae_stream import FRAMES_PER_LATENT
from .compared_clips import open_clip
from .plan import VideoPlan

log = logging.getLogger("dummy_forcing")


@dataclass(frozen=True, eq=False)
class GivenVideo:
    """What was connected to an input: either latents, or frames and how they were read.

    what: beginning of messages, such as "the start". latents: [1, C, F, h, w]. frames: [T, H, W, 3], uint8 or float
    in [0, 1].
    """

    what: str
    latents: Tensor | None = None
    frames: Tensor | None = None
    reading: Reading | None = None

    @property
    def latent_frames(self) -> int:
        """Whole latent frames in it."""
        if self.latents is not None:
            return self.latents.shape[2]
        return 1 + (len(self.frames) - 1) // FRAMES_PER_LATENT

    def to_latents(self, vae, plan: VideoPlan, channels: int) -> Tensor:
        """Raw latents [1, C, F, h, w] of the plan's size; frames are scaled and cropped to it, latents have to fit.

        channels: latent channels of the model.
        """
        if self.latents is None:
            pixels = to_unit(self.frames[: pixel_frames(self.latent_frames)]).movedim(-1, 1)
            scaled = comfy.utils.common_upscale(pixels, plan.width, plan.height, "lanczos", "center")
            return vae.encode(scaled.movedim(1, -1))
        expected = (1, channels, self.latent_frames, *plan.latent_size)
        if tuple(self.latents.shape) != expected:
            raise DummyForcingError(
                f"{self.what} has the latent shape {list(self.latents.shape)}, the video {list(expected)}; use one "
                "video of the same size and model"
            )
        return self.latents

    def lost(self, used: int) -> list[str]:
        """In words, what of it is not in the video as it was given; also in the log.

        used: latent frames, from the first on, that go into the video.
        """
        if self.reading is None:
            return []
        lost = [f"{self.what}: {each}" for each in self.reading.lost(pixel_frames(used), "keep_frames")]
        for each in lost:
            log.info("%s", each)
        return lost


def read_given(given: Any, what: str, keep_frames: bool) -> GivenVideo | None:
    """What an input has: an IMAGE, VIDEO or LATENT, or None where nothing is connected.

    A video comes upright and at the model's frame rate by its time stamps, images as they are.

    Args:
        what: as of `GivenVideo`.
        keep_frames: take every frame of a video as it is.

    Raises:
        DummyForcingError: nothing in it, or nothing that can be read.
    """
    if given is None:
        return None
    numbers = _samples(given, what) if isinstance(given, dict) else given
    if isinstance(numbers, Tensor):
        check_numbers(numbers, what, "run the node that it comes from again, a VAE in float32 (--fp32-vae)")
    if isinstance(given, dict):
        return GivenVideo(what, latents=numbers)
    try:
        clip = open_clip(given)
        if isinstance(given, Tensor):  # has more than 8 bits
            return GivenVideo(what, frames=given[..., :3], reading=Reading.whole(clip, len(given)))
        return GivenVideo(what, None, *read_clip(clip, None if keep_frames else FRAME_RATE))
    except DummyForcingError as error:
        raise DummyForcingError(f"{what}: {error.message}") from error


def _samples(latent: dict, what: str) -> Tensor:
    samples = latent["samples"]
    if samples.ndim != 5 or not samples.shape[2]:
        raise DummyForcingError(
            f"{what} has the latent shape {list(samples.shape)}; expected a video latent [batch, channels, frames, "
            "height, width] of at least one frame"
        )
    return samples
