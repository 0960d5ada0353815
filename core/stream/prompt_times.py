"""Prompts by the time at which they begin, as people write it: `5s`, `2.5 s`, `chunk 8`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import DummyForcingError
from ..wan.vae_stream import FRAMES_PER_LATENT
from .config import StreamConfig
from .prompts import PromptSchedule, PromptSwitch, ScheduledPrompt, SwitchMethod

if TYPE_CHECKING:
    from ..checkpoints.family import Family

FRAME_RATE = 16
"""Pixel frames a second of all Wan 2.1 models."""

_DEFAULT = PromptSwitch()
_CHUNK = re.compile(r"chunk\s*(\d{1,9})")
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*s")


@dataclass(frozen=True)
class PromptTime:
    """A point in a video: seconds from its beginning, or the index of a chunk from 0."""

    seconds: float | None = None
    chunk: int | None = None

    def latent_frame(self, config: StreamConfig, frame_rate: float) -> int:
        """The latent frame that shows this moment, or with which this chunk begins."""
        if self.chunk is not None:
            return config.first_frames + (self.chunk - 1) * config.chunk_frames if self.chunk else 0
        # Latent frame 0 shows one pixel frame, the others several.
        return math.ceil(math.floor(self.seconds * frame_rate) / FRAMES_PER_LATENT)

    def __str__(self) -> str:
        return f"{self.seconds:g}s" if self.chunk is None else f"chunk {self.chunk}"


def parse_time(text: str) -> PromptTime:
    """`5s` or `chunk 8`; raises DummyForcingError for anything else."""
    words = text.strip().lower()
    if found := _CHUNK.fullmatch(words):
        return PromptTime(chunk=int(found[1]))
    if found := _SECONDS.fullmatch(words):
        return PromptTime(seconds=float(found[1]))
    raise DummyForcingError(f"{text.strip()!r} is no time; write seconds as 5s or a chunk as chunk 8")


@dataclass(frozen=True, eq=False)
class PromptPlan:
    """Later prompts of a video, before it is known how the video is cut.

    texts: embeddings [1, L, text_dim], one for each of `times`. method None stands for the family's own; the other
    fields as in `PromptSwitch`.
    """

    times: tuple[PromptTime, ...]
    texts: tuple[Tensor, ...]
    method: SwitchMethod | None
    recache_frames: int = _DEFAULT.recache_frames
    flush_frames: int = _DEFAULT.flush_frames
    chunks: int = _DEFAULT.chunks

    def schedule(self, first: Tensor, config: StreamConfig, family: Family | None) -> PromptSchedule:
        """The schedule for a video that begins with the prompt `first` [1, L, text_dim]."""
        method = self._method(config.rolling, family)
        later = [
            ScheduledPrompt(time.latent_frame(config, FRAME_RATE), text)
            for time, text in zip(self.times, self.texts, strict=True)
        ]
        switch = PromptSwitch(method, self.recache_frames, self.flush_frames, self.chunks)
        return PromptSchedule(first, later, switch)

    def recached(self, rolling: bool, family: Family | None, more: bool = False) -> int:
        """Latent frames that a change of prompt has computed anew; 0 if it does not, or there is none.

        more: whether prompts may come besides those of the plan.
        """
        recaches = (self.texts or more) and self._method(rolling, family) == "recache"
        return self.recache_frames if recaches else 0

    def _method(self, rolling: bool, family: Family | None) -> SwitchMethod:
        usual = "cross-attention" if rolling else _DEFAULT.method
        return self.method or (family.prompt_switch if family else usual)
