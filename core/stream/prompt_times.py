"""Prompts and the times at which they begin, as people write them: `5s`, `2.5 s`, `chunk 8`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import DummyForcingError
from ..video import FRAMES_PER_LATENT, pixel_frames
from .config import StreamConfig
from .prompts import PromptSchedule, PromptSwitch, ScheduledPrompt, SwitchMethod, check_text

FRAME_RATE = 16
"""Pixel frames a second of all Wan 2.1 models."""

_DEFAULT = PromptSwitch()
_CHUNK = re.compile(r"chunk\s*(\d{1,9})")
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*s")


@dataclass(frozen=True)
class PromptTime:
    """A point in a video: seconds from its beginning, or a chunk, counted from 0. typed: as people wrote it."""

    seconds: float | None = None
    chunk: int | None = None
    typed: str = field(default="", compare=False)

    def latent_frame(self, config: StreamConfig, frame_rate: float) -> int:
        """The latent frame that shows this moment, or with which this chunk begins."""
        if self.chunk is not None:
            return config.first_frames + (self.chunk - 1) * config.chunk_frames if self.chunk else 0
        # Latent frame 0 shows one pixel frame, the others several.
        return math.ceil(math.floor(self.seconds * frame_rate) / FRAMES_PER_LATENT)

    @property
    def words(self) -> str:
        """For messages."""
        return repr(self.typed or str(self))

    def __str__(self) -> str:
        return f"{self.seconds:g}s" if self.chunk is None else f"chunk {self.chunk}"


def parse_time(text: str) -> PromptTime:
    """`5s` or `chunk 8`; raises DummyForcingError for anything else."""
    typed = text.strip()
    words = typed.lower()
    if found := _CHUNK.fullmatch(words):
        return PromptTime(chunk=int(found[1]), typed=typed)
    if found := _SECONDS.fullmatch(words):
        return PromptTime(seconds=float(found[1]), typed=typed)
    raise DummyForcingError(f"{typed!r} is no time; write seconds as 5s or a chunk as chunk 8")


@dataclass(frozen=True, eq=False)
class PromptPlan:
    """Later prompts of a video, before it is known how the video is cut into chunks.

    texts: embeddings [1, L, text_dim], one for each of `times`. method None stands for the family's own, which is
    handed in where it counts; the other fields as in `PromptSwitch`.
    """

    times: tuple[PromptTime, ...]
    texts: tuple[Tensor, ...]
    method: SwitchMethod | None
    recache_frames: int = _DEFAULT.recache_frames
    flush_frames: int = _DEFAULT.flush_frames
    chunks: int = _DEFAULT.chunks

    def check(self, config: StreamConfig, text_dim: int) -> None:
        """Raise DummyForcingError, in the units typed, for prompts that do not fit the video or the model.

        text_dim: width of the model's text embeddings.
        """
        before, chunk_before = None, 0
        for time, text in zip(self.times, self.texts, strict=True):
            check_text(text, text_dim, f"the prompt at {time.words}")
            frame = time.latent_frame(config, FRAME_RATE)
            _check_within(time, frame, config)
            if before is not None and frame < before.latent_frame(config, FRAME_RATE):
                raise DummyForcingError(
                    f"a prompt begins at {before.words} and the next at {time.words}; put the prompts in the "
                    "order in which they begin"
                )
            # Behind an opening, a prompt takes effect only with the first generated chunk.
            chunk = max(config.chunk_at(frame), config.opening_chunks)
            if chunk == chunk_before:
                raise DummyForcingError(_never_seen(before, time, chunk, config))
            before, chunk_before = time, chunk

    def schedule(self, first: Tensor, config: StreamConfig, family_method: SwitchMethod | None) -> PromptSchedule:
        """The schedule for a video that begins with the prompt `first` [1, L, text_dim].

        family_method: the switch of the model's family; None if it is not known.

        Raises:
            DummyForcingError: as `check`, or a switch that the prompts or the loop do not allow.
        """
        self.check(config, first.shape[-1])
        method = self._method(config.rolling, family_method)
        later = [
            ScheduledPrompt(time.latent_frame(config, FRAME_RATE), text)
            for time, text in zip(self.times, self.texts, strict=True)
        ]
        switch = PromptSwitch(method, self.recache_frames, self.flush_frames, self.chunks)
        return PromptSchedule(first, later, switch)

    def recached(self, rolling: bool, family_method: SwitchMethod | None, more: bool = False) -> int:
        """Latent frames that a change of prompt recomputes; 0 if it recomputes none, or if there is no change.

        more: whether there may be prompts besides those of the plan.
        """
        recaches = (self.texts or more) and self._method(rolling, family_method) == "recache"
        return self.recache_frames if recaches else 0

    def _method(self, rolling: bool, family_method: SwitchMethod | None) -> SwitchMethod:
        return self.method or family_method or ("cross-attention" if rolling else _DEFAULT.method)


def _check_within(time: PromptTime, frame: int, config: StreamConfig) -> None:
    """Raise DummyForcingError unless a prompt begins after the video's start and before its end."""
    if frame < 1:
        raise DummyForcingError(
            f"a prompt begins at {time.words}, with the video itself, which has a first prompt of its own; "
            "give a later time, or change the first prompt instead"
        )
    if config.total_frames is not None and frame >= config.total_frames:
        seconds = pixel_frames(config.total_frames) / FRAME_RATE
        raise DummyForcingError(
            f"a prompt begins at {time.words}, but the video lasts {seconds:.4g} s and its last chunk is chunk "
            f"{config.total_chunks - 1}; make the video longer, give an earlier time or leave the prompt out"
        )


def _never_seen(before: PromptTime | None, time: PromptTime, chunk: int, config: StreamConfig) -> str:
    """The message about a prompt that is never seen because the next one replaces it."""
    replaced = "the video's first prompt" if before is None else f"the prompt at {before.words}"
    more = config.total_chunks is None or chunk + 1 < config.total_chunks
    later = f"give the later one 'chunk {chunk + 1}' or more" if more else "make the video longer"
    return (
        f"{replaced} would never be seen: the prompt at {time.words} begins with the same chunk, chunk {chunk}; "
        f"leave one out, or {later}"
    )
