"""Turns a node's widgets and a model's family into what a stream needs, with errors for people."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.checkpoints.families.family import Family
from ...core.checkpoints.families.running import FamilyLoop
from ...core.errors import DummyForcingError
from ...core.stream.config import StreamConfig
from ...core.stream.lengths import Counted, fitting_lengths, is_whole, length_from_source, whole_chunks
from ...core.stream.sigmas import even_steps, levels_from_strength, warp_steps
from ...core.video import FRAMES_PER_LATENT, PIXELS_PER_LATENT, pixel_frames
from ...core.wan.shape import PATCH
from .model_facts import ARModelInfo

_PIXEL_STEP = PIXELS_PER_LATENT * PATCH
_USUAL_SHIFT = 5.0  # of nearly all families (docs/references.md, "Warped steps")
_REMEDY = "load the model with Load AR Video Model and choose its family"


@dataclass(frozen=True)
class VideoPlan:
    """Sizes and noise levels of one video."""

    width: int
    height: int
    latent_frames: int
    chunk_frames: int
    sigmas: tuple[float, ...]
    opening_frames: int = 0
    context_noise: float = 0.0
    refine: bool = False

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width in latent pixels."""
        return self.height // PIXELS_PER_LATENT, self.width // PIXELS_PER_LATENT

    def stream_config(self, channels: int, loop: FamilyLoop) -> StreamConfig:
        """The same for the chunk loop of a family."""
        return StreamConfig(
            sigmas=self.sigmas,
            chunk_frames=self.chunk_frames,
            total_frames=self.latent_frames,
            latent_size=self.latent_size,
            channels=channels,
            opening_frames=self.opening_frames,
            context_noise=self.context_noise,
            refine=self.refine,
            **loop.options(self.sigmas),
        )


def plan_video(
    facts: ARModelInfo,
    width: int,
    height: int,
    length: int,
    steps: int,
    chunk_frames: int,
    opening_frames: int = 0,
    strength: float = 1.0,
    source_frames: int | None = None,
    counted: Counted | None = None,
) -> VideoPlan:
    """Settings of a video; 0 stands for the family's own.

    Args:
        length: pixel frames.
        opening_frames: latent frames of a start image or video.
        strength: how much of a video to change is replaced; 1 for all of it.
        source_frames: latent frames of that video, if there is one; length 0 then stands for its number of whole
            chunks.
        counted: as in `length_from_source`.

    Raises:
        DummyForcingError: a size or length that the model cannot run, or no family to take a default from.
    """
    family = facts.family
    height = height or _default(family, "height").pixel_size[0]
    width = width or _default(family, "width").pixel_size[1]
    for name, side in (("width", width), ("height", height)):
        if side % _PIXEL_STEP:
            below = side - side % _PIXEL_STEP
            fitting = " or ".join(str(each) for each in (below, below + _PIXEL_STEP) if each)
            raise DummyForcingError(f"a {name} of {side} is no multiple of {_PIXEL_STEP} pixels; use {fitting}")
    chunk = chunk_frames or _default(family, "chunk_frames").chunk_frames
    latents = _latent_frames(length, family, chunk, opening_frames, source_frames, counted)
    sigmas = levels_from_strength(_sigmas(family, steps), strength)
    return VideoPlan(width, height, latents, chunk, sigmas, opening_frames)


def _default(family: Family | None, what: str) -> Family:
    if family is None:
        raise DummyForcingError(f"{what} is 0 for the family's own, but the model's family is not known; {_REMEDY}")
    return family


def _latent_frames(
    length: int, family: Family | None, chunk: int, opening: int, source: int | None, counted: Counted | None
) -> int:
    wanted = _checked(length, chunk, opening) if length else None
    if source is not None:
        return length_from_source(source, wanted, chunk, opening, "the source", _typed, counted)
    if wanted is not None:
        return wanted
    return max(opening + chunk, whole_chunks(_default(family, "length").latent_frames, chunk, opening))


def _checked(length: int, chunk: int, opening: int) -> int:
    latents = (length - 1) // FRAMES_PER_LATENT + 1
    if (length - 1) % FRAMES_PER_LATENT or not is_whole(latents, chunk, opening):
        fitting = " or ".join(str(pixel_frames(each)) for each in fitting_lengths(latents, chunk, opening))
        start = f" behind {opening} latent frame(s) to begin with" if opening else ""
        raise DummyForcingError(
            f"a length of {length} frames does not fit chunks of {chunk} latent frames{start}; use {fitting}"
        )
    return latents


def _typed(latents: int) -> str:
    return f"a length of {pixel_frames(latents)}"


def _sigmas(family: Family | None, steps: int) -> tuple[float, ...]:
    if family is None and steps:
        return warp_steps(even_steps(steps), _USUAL_SHIFT)
    return _default(family, "steps").sigmas_of(steps)
