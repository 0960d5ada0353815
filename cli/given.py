"""Pictures and videos that a video begins with or is made from: `--image`, `--extend`, `--source`."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..core.checkpoints.families.table import FAMILIES
from ..core.errors import DummyForcingError
from ..core.media.frames import to_unit
from ..core.media.reading import Reading, open_media, read_clip
from ..core.stream.config import StreamConfig
from ..core.stream.encode import encode_clip
from ..core.stream.given_latents import NOTHING_GIVEN, GivenLatents
from ..core.stream.lengths import length_from_source
from ..core.stream.prompt_times import FRAME_RATE
from ..core.video import FRAMES_PER_LATENT, pixel_frames
from .models import count_latents
from .values import is_size

if TYPE_CHECKING:
    from ..core.checkpoints.model import ARVideoModel

DEFAULT_STRENGTH = 0.8
_KEEP = "--keep-frames"


@dataclass(frozen=True, eq=False)
class Given:
    """A picture or video from a file.

    frames: uint8 [T, H, W, 3]. reading: how the file was read. strength: share of noise mixed into the video that
    is to be changed; None if the file is what the new video begins with.
    """

    path: Path
    frames: Tensor
    reading: Reading
    strength: float | None

    @property
    def latent_frames(self) -> int:
        """Whole latent frames in the file."""
        return 1 + (len(self.frames) - 1) // FRAMES_PER_LATENT

    @property
    def opening_frames(self) -> int:
        """Latent frames of the file that the new video begins with."""
        return self.latent_frames if self.strength is None else 0

    def count_latents(self, latents: int | None, seconds: float | None, usual: int, chunk: int) -> int:
        """Length of the whole video; if none was typed, that of the video to change or the usual one."""
        if self.strength is None:
            return count_latents(latents, seconds, usual, chunk, self.opening_frames)
        typed = latents is not None or seconds is not None
        wanted = count_latents(latents, seconds, usual, chunk) if typed else None
        return length_from_source(
            self.latent_frames, wanted, chunk, 0, str(self.path), _typed, self.reading.counted(_KEEP)
        )

    def used_frames(self, config: StreamConfig) -> int:
        """Frames of the file that go into the new video."""
        return pixel_frames(config.opening_frames if self.strength is None else config.total_frames)

    def lost(self, config: StreamConfig) -> list[str]:
        """What of the file is left out or changed, in words."""
        return [f"{self.path}: {each}" for each in self.reading.lost(self.used_frames(config), _KEEP)]

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        return {"path": str(self.path), **self.reading.to_dict(), "strength": self.strength}

    def latents(self, model: ARVideoModel, config: StreamConfig) -> GivenLatents:
        """The file's latents; DummyForcingError if its size is not that of the new video."""
        size, expected = tuple(self.frames.shape[1:3]), tuple(8 * side for side in config.latent_size)
        if size != expected:
            own, wanted = ("x".join(map(str, each)) for each in (size, expected))
            possible = f", or use --size {own} if the model can" if is_size(*size) else ""
            raise DummyForcingError(
                f"{self.path} is {own} pixels (height x width), the video {wanted}; scale or cut the file to "
                f"{wanted}{possible}"
            )
        frames = to_unit(self.frames[: self.used_frames(config)])
        latents = encode_clip(model.vae, frames[None])
        return GivenLatents(opening=latents) if self.strength is None else GivenLatents(source=latents)


def read_given(args: argparse.Namespace) -> Given | None:
    """Read the file of `--image`, `--extend` or `--source`, if one was typed; DummyForcingError if it cannot be."""
    if args.strength is not None and args.source is None:
        raise DummyForcingError("--strength goes with --source VIDEO; leave it out")
    if args.keep_frames and args.source is None and args.extend is None:
        raise DummyForcingError("--keep-frames goes with --extend VIDEO or --source VIDEO; leave it out")
    path = args.image or args.extend or args.source
    if path is None:
        return None
    rate, most = None if args.keep_frames or args.image else FRAME_RATE, _most_frames(args) if args.source else None
    try:
        frames, reading = read_clip(open_media(path), rate, _KEEP, most)
    except DummyForcingError as error:
        named = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise DummyForcingError(named) from error
    if args.image is not None and len(frames) > 1:
        raise DummyForcingError(f"{path} holds {len(frames)} frames; give one picture or use --extend")
    if args.source is None:
        return Given(path, frames, reading, None)
    return Given(path, frames, reading, DEFAULT_STRENGTH if args.strength is None else args.strength)


def _most_frames(args: argparse.Namespace) -> int | None:
    """The most frames of a source that the video can use, whatever the model; None for all."""
    if args.latents is not None:
        return max(1, pixel_frames(args.latents))
    if args.seconds is None:
        return None
    rounding = FRAMES_PER_LATENT * max(each.chunk_frames for each in FAMILIES.values())
    return math.ceil(args.seconds * FRAME_RATE) + rounding


def given_latents_of(given: Given | None, model: ARVideoModel, config: StreamConfig) -> GivenLatents:
    """The latents of what was given, if anything."""
    return NOTHING_GIVEN if given is None else given.latents(model, config)


def _typed(latents: int) -> str:
    return f"--latents {latents}"
