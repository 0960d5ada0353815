"""The rope slot: where kept keys are on the time axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DummyForcingError
from .base import PositionMethod

if TYPE_CHECKING:
    from ..memory_config import MemoryConfig


@dataclass(frozen=True)
class Absolute(
    PositionMethod, name="absolute", title="absolute positions", about="Every frame keeps its own position."
):
    """Every frame stays at its own number, as the models were trained; exact at any length."""


@dataclass(frozen=True)
class Relative(
    PositionMethod,
    name="relative",
    title="relative positions",
    about="In long videos, the frames that are read stand next to each other.",
):
    """Positions are counted within the frames that are read, so that no distance grows with the video.

    Once a video is longer than `after` latent frames, opening frames get positions right before the recent ones,
    without a gap. Shorter videos are not changed, so that a model sees what it was trained with. 0 closes every gap
    from the start (Infinity-RoPE, LongLive's "infinity" mode).
    """

    after: int = 0

    def __post_init__(self) -> None:
        if self.after < 0:
            raise DummyForcingError(f"positions change after {self.after} latent frames; expected 0 or more")

    def check(self, config: MemoryConfig) -> None:
        """Raise DummyForcingError where there are no gaps to close."""
        if config.keep.keeps_all:
            raise DummyForcingError(
                "window-relative positions need a limited context, but some heads keep the whole video; use a "
                "window or Dummy Forcing with a local context, or absolute positions"
            )
