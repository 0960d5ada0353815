"""Pictures, videos and latents that a video begins with or is made from, as latents."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import comfy.utils
from torch import Tensor

from ...core.broken import check_numbers
from ...core.errors import DummyForcingError
from ...core.media.frames import to_unit
from ...core.media.reading import Reading, read_clip
from ...core.stream.lengths import Counted
from ...core.stream.prompt_times import FRAME_RATE
from ...core.video import FRAMES_PER_LATENT, pixel_frames
from ..compare.compared_clips import open_clip
from .video_plan import VideoPlan

_KEEP = "keep_frames"

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

    @property
    def counted(self) -> Counted | None:
        """Its frames for messages about a length; None for latents."""
        return None if self.reading is None else self.reading.counted(_KEEP)

    def to_latents(self, vae, plan: VideoPlan, channels: int, used: int) -> Tensor:
        """Raw latents [1, C, used, h, w] of the plan's size: frames are scaled and cropped to it, latents must fit.

        channels: latent channels of the model. used: latent frames, from the first on; the rest is not encoded.
        """
        if self.latents is None:
            pixels = to_unit(self.frames[: pixel_frames(used)]).movedim(-1, 1)
            scaled = comfy.utils.common_upscale(pixels, plan.width, plan.height, "lanczos", "center")
            return vae.encode(scaled.movedim(1, -1))
        expected = (1, channels, self.latent_frames, *plan.latent_size)
        if tuple(self.latents.shape) != expected:
            raise DummyForcingError(
                f"{self.what} has the latent shape {list(self.latents.shape)}, the video {list(expected)}; use one "
                "video of the same size and model"
            )
        return self.latents[:, :, :used]

    def lost(self, used: int) -> list[str]:
        """Sentences about what was given but is left out of the video or changed in it; the log has them too.

        used: latent frames, from the first on, that go into the video.
        """
        if self.reading is None:
            return []
        lost = [f"{self.what}: {each}" for each in self.reading.lost(pixel_frames(used), _KEEP)]
        for each in lost:
            log.info("%s", each)
        return lost


def read_given(given: Any, what: str, keep_frames: bool, most: int | None = None) -> GivenVideo | None:
    """What an input has: an IMAGE, VIDEO or LATENT, or None where nothing is connected.

    A video is read upright and at the model's frame rate, by its time stamps; images are taken as they are.

    Args:
        what: as in `GivenVideo`.
        keep_frames: take every frame of a video as it is.
        most: frames of a video that are used at most; None for all.

    Raises:
        DummyForcingError: there is nothing in the input, or nothing that can be read.
    """
    if given is None:
        return None
    numbers = _samples(given, what) if isinstance(given, dict) else given
    if isinstance(numbers, Tensor):
        check_numbers(
            numbers, what, "run the node that it comes from again, in float32 if it is a VAE (--fp32-vae)"
        )
    if isinstance(given, dict):
        return GivenVideo(what, latents=numbers)
    try:
        clip = open_clip(given)
        if isinstance(given, Tensor):  # images have more than 8 bits
            return GivenVideo(what, frames=given[..., :3], reading=Reading.whole(clip, len(given)))
        return GivenVideo(what, None, *read_clip(clip, None if keep_frames else FRAME_RATE, _KEEP, most))
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
