"""Checks for NaN and infinities in weights, latents or frames, which would end in a black video."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from .errors import DummyForcingError

if TYPE_CHECKING:
    from .media.video_file import VideoWriter


class BrokenVideoError(DummyForcingError):
    """A chunk contains NaN or infinities; the chunks before it are good."""


def check_numbers(given: Tensor, what: str, remedy: str) -> None:
    """Raise DummyForcingError for given data with NaN or infinities in it; waits for the device."""
    if not given.isfinite().all():
        raise DummyForcingError(f"{what} has NaN or infinite numbers in it; {remedy}")


def check_chunk(latents: Tensor, chunk: int) -> None:
    """Raise BrokenVideoError for finished latents with NaN or infinities; waits for the device."""
    if latents.is_meta or latents.isfinite().all():  # on the meta device there are no numbers
        return
    raise BrokenVideoError(
        f"the model produced NaN or infinite numbers in chunk {chunk}, which would be black; load the model "
        "in bfloat16 or float32 in place of float16, lower the LoRA strength and the CFG, or download the weights "
        "again"
    )


def check_frames(frames: Tensor) -> Tensor:
    """Return a decoder's frames [B, T, H, W, 3], in [0, 1] on the CPU; raise BrokenVideoError for NaN in them."""
    if frames.sum().isnan():
        raise BrokenVideoError(
            "the decoder turned valid latents into NaN, which would be black; run the decoder in float32 "
            "(ComfyUI: --fp32-vae, command line: --dtype float32), or use another VAE or decoder"
        )
    return frames


@contextlib.contextmanager
def keeping_finished(video: VideoWriter) -> Iterator[None]:
    """If a chunk is broken, complete the file with the frames before it, and say so in the error."""
    try:
        yield
    except BrokenVideoError as error:
        if not video.frames_written:
            raise
        wrong, _, remedy = error.message.rpartition("; ")
        kept = f"the {video.frames_written} frames before it are in {video.finish()}"
        raise BrokenVideoError(f"{wrong} ({kept}); {remedy}") from error
