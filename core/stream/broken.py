"""Numbers that are none: NaN and infinities in weights, latents or frames, which would end in a black video."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import DummyForcingError

if TYPE_CHECKING:
    from ..media.video import VideoWriter


class BrokenVideoError(DummyForcingError):
    """A chunk came out as no picture; the chunks before it are as they should be."""


def check_numbers(given: Tensor, what: str, remedy: str) -> None:
    """Raise DummyForcingError for something given that has NaN or infinities in it; the device is waited for."""
    if not given.isfinite().all():
        raise DummyForcingError(f"{what} has NaN or infinite numbers in it; {remedy}")


def check_chunk(latents: Tensor, chunk: int) -> None:
    """Raise BrokenVideoError for finished latents with NaN or infinities; the device is waited for."""
    if latents.is_meta or latents.isfinite().all():  # on the meta device there are no numbers
        return
    raise BrokenVideoError(
        f"the model made NaN or infinite numbers of chunk {chunk}, which would be black; load it in bfloat16 or "
        "float32 in place of float16, lower the LoRA strength and the CFG, or download the weights again"
    )


def check_frames(frames: Tensor) -> Tensor:
    """The frames [B, T, H, W, 3], in [0, 1] on the CPU, of a decoder; BrokenVideoError for NaN among them."""
    if frames.sum().isnan():
        raise BrokenVideoError(
            "the decoder made NaN of latents that are right, which would be black; run it in float32 (ComfyUI: "
            "--fp32-vae, command line: --dtype float32), or use another VAE or decoder"
        )
    return frames


@contextlib.contextmanager
def keeping_finished(video: VideoWriter) -> Iterator[None]:
    """Where a chunk is broken, complete the file with the frames before it, and say so in the error."""
    try:
        yield
    except BrokenVideoError as error:
        if not video.frames_written:
            raise
        wrong, _, remedy = error.message.rpartition("; ")
        kept = f"the {video.frames_written} frames before it are in {video.finish()}"
        raise BrokenVideoError(f"{wrong} ({kept}); {remedy}") from error
