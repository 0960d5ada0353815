"""How a video is generated: noise levels, sizes, the grid of chunks and the memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..clock import ChunkClock
from ..errors import DummyForcingError
from ..memory_config import MemoryConfig
from ..methods.pass_skip import PassSkip
from ..video import VideoShape, pixel_frames, token_grid
from ..wan.forward import model_sizes
from ..wan.shape import PATCH
from .lengths import fitting_lengths, is_whole
from .rollout import Rollout


@dataclass(frozen=True)
class StreamConfig:
    """How a video is generated.

    Attributes:
        sigmas: noise levels of the denoising passes, decreasing from at most 1 to 0. If the last is above 0, that
            much fresh noise stays in the latents, and in the keys and values kept of them, as in ComfyUI's own AR
            sampler.
        chunk_frames: latent frames denoised together.
        total_frames: latent frames of the video, the opening included; None streams without end.
        latent_size: height and width in latent pixels, both even.
        channels: latent channels.
        memory: what is kept and read.
        opening_frames: clean latent frames that the video begins with, such as an encoded start image. The rest of
            `total_frames` must be whole chunks, unless `ragged` is set.
        ragged: the last chunk may be shorter than the others.
        skip: which denoising passes reuse the blocks' residual of the pass before; None computes all.
        first_sigmas: noise levels of the first generated chunk, also behind an opening, where it needs more of them
            (thu-ml/Causal-Forcing, pipeline/causal_inference.py).
        rolling: several chunks at once, each at its own level, as Rolling Forcing was trained.
        rollout: how the memory starts over during a video; None keeps one memory throughout.
        context_noise: noise level of the clean passes, whose keys and values are kept; 0 in all released models.
        refine: makes the clean pass's prediction the chunk's result, which needs context noise: the pass that
            writes the cache replaces the last denoising passes, much as in UnStep, which however conditions it on
            timestep 0 (docs/references.md, "UnStep's last pass").
    """

    sigmas: tuple[float, ...]
    chunk_frames: int
    total_frames: int | None
    latent_size: tuple[int, int]
    channels: int = 16
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    opening_frames: int = 0
    ragged: bool = False
    skip: PassSkip | None = None
    first_sigmas: tuple[float, ...] | None = None
    rolling: bool = False
    rollout: Rollout | None = None
    context_noise: float = 0.0
    refine: bool = False

    def __post_init__(self) -> None:
        check_levels(self.sigmas)
        if self.first_sigmas is not None:
            check_levels(self.first_sigmas)
        if self.chunk_frames < 1:
            raise DummyForcingError(f"chunks of {self.chunk_frames} latent frames: expected at least 1")
        if self.opening_frames < 0:
            raise DummyForcingError(f"an opening of {self.opening_frames} latent frames: expected 0 or more")
        if any(side < PATCH or side % PATCH for side in self.latent_size):
            raise DummyForcingError(
                f"a latent size of {self.latent_size} does not fit {PATCH} x {PATCH} patches; "
                "use a height and width that are multiples of 16 pixels"
            )
        self._check_length()
        self._check_clean_pass()
        self.memory.check_video(self.video_shape(layers=1, heads=1))
        if self.skip is not None:
            self.skip.check_passes(len(self.sigmas) - 1)
        if self.rolling:
            self._check_rolling()
        if self.rollout is not None:
            self.rollout.check(self.chunk_frames)
            self._check_classification(self.rollout)

    def _check_clean_pass(self) -> None:
        if not 0 <= self.context_noise < 1:
            raise DummyForcingError(f"context noise is {self.context_noise}; expected a noise level from 0 below 1")
        if self.refine and not self.context_noise:
            raise DummyForcingError(
                "a clean pass cannot refine latents without noise; set a context noise, such as 0.1"
            )
        if self.refine and self.sigmas[-1]:
            raise DummyForcingError(
                f"noise levels that end with {self.sigmas[-1]:g} leave noise in the result, and refining replaces "
                "it; let the noise levels end with 0 or turn refining off"
            )
        if self.refine and self.rollout is not None:
            raise DummyForcingError(
                "the last chunk of a rollout has no clean pass that could refine it; turn refining off"
            )

    def _check_rolling(self) -> None:
        if self.skip is not None or self.refine or self.rollout or self.first_sigmas:
            raise DummyForcingError(
                "Rolling Forcing's joint passes cannot be skipped, refined or split into rollouts, and have one "
                "list of steps; remove pass skipping, refining, rollouts and the first chunk's own steps"
            )
        if self.sigmas[-1]:
            raise DummyForcingError(
                f"Rolling Forcing's chunks leave the window when they are clean, but the noise levels end with "
                f"{self.sigmas[-1]:g}; give noise levels down to 0"
            )

    def _check_classification(self, rollout: Rollout) -> None:
        """The last chunk of a rollout has no clean pass, in which heads could be measured."""
        due = self.memory.keep.measured_in(self.video_shape(layers=1, heads=1))
        if due is None or self.memory_frames == self.total_frames:
            return
        last = (rollout.frames - self.first_frames) // self.chunk_frames
        if due >= last:
            raise DummyForcingError(
                f"memories that start over after {rollout.frames} latent frames, as in Krea's loop with every "
                f"chunk, end before heads can be measured in chunk {due}; connect a head profile (--profile) or "
                "use another memory"
            )

    def _check_length(self) -> None:
        total, chunk, opening = self.total_frames, self.chunk_frames, self.opening_frames
        ragged = self.ragged and not self.rolling
        if total is None or (ragged and total > opening) or is_whole(total, chunk, opening):
            return
        behind = f" behind {opening} to begin with" if opening else ""
        fitting = fitting_lengths(total, chunk, opening)
        video = [pixel_frames(frames) for frames in fitting]
        raise DummyForcingError(
            f"a length of {total} latent frames cannot be cut into chunks of {chunk}{behind}; use {fitting[0]} or "
            f"{fitting[1]} latent frames, which are {video[0]} or {video[1]} video frames"
        )

    @property
    def first_frames(self) -> int:
        """Latent frames of the first chunk: those of the opening that do not fill whole chunks come first."""
        first = self.opening_frames % self.chunk_frames or self.chunk_frames
        return first if self.total_frames is None else min(first, self.total_frames)

    @property
    def total_chunks(self) -> int | None:
        """Chunks of the video, those of the opening included; None without end."""
        if self.total_frames is None:
            return None
        return 1 + math.ceil((self.total_frames - self.first_frames) / self.chunk_frames)

    @property
    def opening_chunks(self) -> int:
        """Chunks that the opening covers."""
        return -(-self.opening_frames // self.chunk_frames)

    @property
    def total_passes(self) -> int | None:
        """Passes over all chunks; those of the opening have only a clean one. None without end.

        Clean passes over finished latents, at the start of a rollout or after a change of prompt, do not count.
        """
        if self.total_chunks is None:
            return None
        generated = self.total_chunks - self.opening_chunks
        if self.rolling:
            return self.opening_chunks + generated + (generated + len(self.sigmas) - 2)
        passes = self.opening_chunks + sum(
            len(self.sigmas_at(chunk)) for chunk in range(self.opening_chunks, self.total_chunks)
        )
        return passes - self._rollouts_ended

    @property
    def _rollouts_ended(self) -> int:
        """Chunks without a clean pass: memories start over behind them."""
        if self.rollout is None:
            return 0
        origins = {clock.origin_frame for clock in self.chunks()}
        return len(origins) - 1

    def sigmas_at(self, chunk: int) -> tuple[float, ...]:
        """Noise levels of a chunk's denoising passes, and the one that its latents are left with."""
        return self.first_sigmas if chunk == self.opening_chunks and self.first_sigmas else self.sigmas

    def chunk_at(self, frame: int) -> int:
        """The chunk that holds a latent frame."""
        return 0 if frame < self.first_frames else 1 + (frame - self.first_frames) // self.chunk_frames

    def chunks(self) -> Iterator[ChunkClock]:
        """The clock of every chunk's first pass, in order."""
        start, frames = 0, self.first_frames
        origin_chunk = origin_frame = 0
        for chunk in itertools.count():
            if chunk == self.total_chunks:
                return
            if self.total_frames is not None:
                frames = min(frames, self.total_frames - start)
            if self.rollout is not None and start + frames - origin_frame > self.rollout.frames:
                origin_chunk = chunk - self.rollout.context // self.chunk_frames
                origin_frame = start - self.rollout.context
            yield ChunkClock(
                chunk=chunk,
                start_frame=start,
                frames=frames,
                tokens_per_frame=math.prod(token_grid(*self.latent_size)),
                pass_index=0,
                sigma=self.sigmas_at(chunk)[0],
                clean=False,
                origin_chunk=origin_chunk,
                origin_frame=origin_frame,
            )
            start, frames = start + frames, self.chunk_frames

    def video_shape(self, layers: int, heads: int, **known: Any) -> VideoShape:
        """What a memory must know; `known` are further fields of `VideoShape`."""
        return VideoShape(
            layers=layers,
            heads=heads,
            chunk_frames=self.chunk_frames,
            total_frames=self.memory_frames,
            first_frames=self.first_frames,
            longest_pass=self.pass_frames,
            grid=token_grid(*self.latent_size),
            **known,
        )

    def shape_for(self, backbone: nn.Module, like: Tensor) -> VideoShape:
        """The same for a module tree with Wan's names; batch, dtype and device are those of `like`."""
        return self.video_shape(**model_sizes(backbone), batch=like.shape[0], dtype=like.dtype, device=like.device)

    @property
    def memory_frames(self) -> int | None:
        """Latent frames that one memory lives for; None without end."""
        if self.rollout is None:
            return self.total_frames
        return self.rollout.frames if self.total_frames is None else min(self.total_frames, self.rollout.frames)

    @property
    def pass_frames(self) -> int:
        """Most latent frames that a pass over generated chunks has."""
        return frames_of_a_pass(self.chunk_frames, len(self.sigmas) - 1, self.rolling)


def frames_of_a_pass(chunk_frames: int, denoising_passes: int, rolling: bool) -> int:
    """The most latent frames in one pass: Rolling Forcing has a chunk at every noise level."""
    return chunk_frames * denoising_passes if rolling else chunk_frames


_SHOWN_LEVELS = 6  # in a message


def check_levels(levels: tuple[float, ...]) -> None:
    """Raises DummyForcingError unless there are two noise levels or more, falling from at most 1 to 0 or above."""
    falling = all(a > b for a, b in itertools.pairwise(levels))
    if len(levels) < 2 or not (levels[-1] >= 0 and levels[0] <= 1 and falling):
        shown = ", ".join(f"{level:.4g}" for level in levels[:_SHOWN_LEVELS]) or "none"
        more = f", ... ({len(levels)} in all)" if len(levels) > _SHOWN_LEVELS else ""
        rising = len(levels) > 1 and levels[0] < levels[-1]
        remedy = "remove FlipSigmas (ComfyUI), or use" if rising else "use"
        raise DummyForcingError(
            f"the noise levels are {shown}{more}; {remedy} two noise levels or more that fall from at most 1, such "
            "as 1, 0.8, 0"
        )
