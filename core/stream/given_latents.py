"""Latents that a video is given: what it begins with, and what it is made from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..broken import check_numbers
from ..clock import ChunkClock
from ..errors import DummyForcingError
from .config import StreamConfig


@dataclass(frozen=True, eq=False)
class GivenLatents:
    """Given latents [B, C, F, h, w] in the backbone's scale, on any device.

    opening: clean frames that the video begins with, such as a start image; `StreamConfig.opening_frames` of them.
        They get a clean pass only.
    source: video to video: chunks start from these latents, noised to the first of the config's sigmas, which
        should then be below 1. They are as long as the whole video.
    """

    opening: Tensor | None = None
    source: Tensor | None = None

    def check(self, batch: int, config: StreamConfig) -> None:
        """Raises DummyForcingError if the latents do not fit the video or contain NaN or infinities."""
        if self.opening is None and config.opening_frames:
            raise DummyForcingError(
                f"the video is to begin with {config.opening_frames} given latent frames, but none were given"
            )
        if self.opening is not None:
            _check(self.opening, "the video to begin with", batch, config.opening_frames, config)
        if self.source is not None:
            if config.rolling:
                raise DummyForcingError(
                    "Rolling Forcing cannot change a given video: its chunks begin as pure noise; "
                    "use another family"
                )
            if config.total_frames is None:
                raise DummyForcingError("a stream without end cannot be made from a source video; give a length")
            _check(self.source, "the source video", batch, config.total_frames, config)

    def opening_of(self, clock: ChunkClock) -> Tensor | None:
        """The clean latents of a chunk; None if it is to be generated."""
        if self.opening is None or clock.start_frame >= self.opening.shape[2]:
            return None
        return self.opening[:, :, clock.start_frame : clock.end_frame]

    def source_of(self, clock: ChunkClock) -> Tensor | None:
        """The latents a chunk is made from; None for pure noise."""
        return None if self.source is None else self.source[:, :, clock.start_frame : clock.end_frame]


NOTHING_GIVEN = GivenLatents()


def _check(latents: Tensor, what: str, batch: int, frames: int, config: StreamConfig) -> None:
    expected = (batch, config.channels, frames, *config.latent_size)
    if tuple(latents.shape) != expected:
        raise DummyForcingError(f"{what} has the latent shape {list(latents.shape)}; expected {list(expected)}")
    check_numbers(latents, what, "check where it comes from, or encode it with the VAE in float32")
