"""The rope slot: where kept keys are on the time axis."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DummyForcingError


@dataclass(frozen=True)
class Absolute:
    """Every frame stays at its own number, as the models were trained; exact at any length."""

    @property
    def after(self) -> None:
        return None


@dataclass(frozen=True)
class Relative:
    """Positions are counted anew within what is read, so that no distance grows with the video.

    Once a video is longer than `after` latent frames, opening frames are right before the recent ones, without a
    gap; up to there nothing changes, so that a model sees what it was trained with. 0 closes gaps from the first
    one on (Infinity-RoPE, LongLive's "infinity" mode).
    """

    after: int = 0

    def __post_init__(self) -> None:
        if self.after < 0:
            raise DummyForcingError(f"positions change after {self.after} latent frames; expected 0 or more")
