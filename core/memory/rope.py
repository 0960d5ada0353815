"""The rope slot: where kept keys are on the time axis."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DummyForcingError


@dataclass(frozen=True)
class Absolute:
    """Every frame stays at its own number, as the models were trained; exact at any length."""

    @property
    def span(self) -> None:
        return None


@dataclass(frozen=True)
class Relative:
    """Positions are counted anew within what is read, so that no distance grows with the video.

    Opening frames are moved along as soon as they and the current chunk would be more than `span` latent frames
    apart, ends included; nothing changes before that. A head that reads more than `span` frames gets them without a
    gap: with a `span` of 1 all heads do (Infinity-RoPE, LongLive's "infinity" mode).
    """

    span: int = 21

    def __post_init__(self) -> None:
        if self.span < 1:
            raise DummyForcingError(f"span is {self.span}; expected at least 1 latent frame")
