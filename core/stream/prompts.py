"""Prompts that change while a video is made, and what happens to the memory when they do.

There are four ways: only the cross-attention changes, while old keys and values still reflect the old prompt; the
newest clean latents go through the model again under the new prompt; all but the first and the last frame are
forgotten; the embedding moves to the new one in steps. The last three come from docs/references.md, "LongLive's
recache", "Infinity-RoPE's flush" and "Krea Realtime's loop".
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..broken import check_numbers
from ..clock import ChunkClock
from ..errors import DummyForcingError

SwitchMethod = Literal["cross-attention", "recache", "flush", "interpolate"]
SWITCH_METHODS: tuple[SwitchMethod, ...] = ("cross-attention", "recache", "flush", "interpolate")
ROLLING_METHODS: tuple[SwitchMethod, ...] = ("cross-attention", "interpolate")
"""Those that leave the memory alone, as it must be while several chunks are under way (Rolling Forcing)."""


@dataclass(frozen=True)
class PromptSwitch:
    """What a change of prompt does.

    Attributes:
        method: one of `SWITCH_METHODS`.
        recache_frames: newest latent frames computed anew, rounded up to whole chunks; for "recache".
        flush_frames: newest latent frames that stay, besides opening ones; for "flush".
        chunks: over how many chunks the embedding moves to the new prompt; for "interpolate".
    """

    method: SwitchMethod = "recache"
    recache_frames: int = 12
    flush_frames: int = 1
    chunks: int = 4

    def __post_init__(self) -> None:
        if self.method not in SWITCH_METHODS:
            raise DummyForcingError(
                f"a prompt switch by {self.method!r} is not known; expected one of {', '.join(SWITCH_METHODS)}"
            )
        for name in ("recache_frames", "flush_frames", "chunks"):
            if getattr(self, name) < 1:
                raise DummyForcingError(f"{name} of a prompt switch is {getattr(self, name)}; expected at least 1")


@dataclass(frozen=True, eq=False)
class PromptChange:
    """What to do before a chunk: text [B, L, text_dim] is the embedding from now on.

    `starts` is True where a new prompt begins, False for the later steps of an interpolation.
    """

    text: Tensor
    starts: bool


def check_text(text: Tensor, text_dim: int, what: str = "the prompt") -> None:
    """Raise DummyForcingError for an embedding [B, L, D] of another text encoder, or one with NaN or infinities.

    what: how the message names the prompt.
    """
    if text.shape[-1] != text_dim:
        raise DummyForcingError(
            f"{what} comes from another text encoder: its embedding is {text.shape[-1]} wide, the model's "
            f"{text_dim}; use umT5 (CLIP type 'wan') for Wan 2.1, the node Toy World for the toy world"
        )
    check_numbers(text, what, "encode it again, with the text encoder in bfloat16 or float32")


class PromptSource(Protocol):
    """Where a stream gets its prompts from; asked once before every chunk that is generated."""

    switch: PromptSwitch

    def before(self, clock: ChunkClock) -> PromptChange | None:
        """The change due at this chunk, if any."""
        ...


@dataclass(frozen=True, eq=False)
class ScheduledPrompt:
    """text [B, L, text_dim], in force from the first chunk on that ends after latent frame `frame`."""

    frame: int
    text: Tensor


class PromptSchedule:
    """Prompts and when they begin; they may be changed from outside while the stream runs (`change`).

    The first prompt belongs to the stream itself, so a schedule holds only the later ones.
    """

    def __init__(self, first: Tensor, later: Sequence[ScheduledPrompt] = (), switch: PromptSwitch | None = None):
        """first: embedding of the stream's own prompt, where interpolation starts from.

        Raises:
            DummyForcingError: times that do not rise from above 0, or embeddings that do not go with the first.
        """
        frames = [prompt.frame for prompt in later]
        if any(a >= b for a, b in itertools.pairwise(frames)) or (frames and frames[0] < 1):
            raise DummyForcingError(
                f"prompts begin at latent frames {frames}; expected rising numbers above 0, the first prompt is "
                "the stream's own"
            )
        self.switch = switch or PromptSwitch()
        self._waiting = list(later)
        self._text = self._target = first
        self._steps_left = 0
        self._lock = threading.Lock()
        self._asked: Tensor | None = None
        for prompt in later:
            self._check(prompt.text)

    def change(self, text: Tensor) -> None:
        """Ask for another prompt from the next chunk on; may be called from any thread, the last call counts.

        Raises:
            DummyForcingError: an embedding that does not fit those before it.
        """
        self._check(text)
        with self._lock:
            self._asked = text

    def before(self, clock: ChunkClock) -> PromptChange | None:
        """See `PromptSource`."""
        target = self._next_target(clock)
        if target is not None:
            self._target = target
            self._steps_left = self.switch.chunks if self.switch.method == "interpolate" else 1
        if not self._steps_left:
            return None
        self._text = _step(self._text, self._target, self._steps_left)
        self._steps_left -= 1
        return PromptChange(self._text, starts=target is not None)

    def _check(self, text: Tensor) -> None:
        check_text(text, self._target.shape[-1])
        if self.switch.method == "interpolate" and text.shape[1:] != self._target.shape[1:]:
            raise DummyForcingError(
                f"prompts of {self._target.shape[1]} and {text.shape[1]} tokens cannot be interpolated; encode "
                "both prompts with the same text encoder and padding, or switch in another way"
            )

    def _next_target(self, clock: ChunkClock) -> Tensor | None:
        due = None
        while self._waiting and self._waiting[0].frame < clock.end_frame:
            due = self._waiting.pop(0).text
        with self._lock:
            asked, self._asked = self._asked, None
        return due if asked is None else asked


def _step(text: Tensor, target: Tensor, steps_left: int) -> Tensor:
    """The next of `steps_left` equal steps from one embedding to another; the last one is the target itself."""
    return target if steps_left == 1 else torch.lerp(text.to(target), target, 1 / steps_left)


class _NoChanges:
    """The prompt of the stream itself, to the end."""

    switch = PromptSwitch("cross-attention")

    def before(self, clock: ChunkClock) -> None:
        return None


NO_CHANGES: PromptSource = _NoChanges()
