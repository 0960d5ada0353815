"""Dense: every head keeps everything. The baseline, and what the models were trained with."""

from __future__ import annotations

from dataclasses import dataclass

from .keep import KeepShape, Uniform
from .retention import Retention


@dataclass(frozen=True)
class Dense:
    """Keep every frame for every head; memory grows with the video."""

    @property
    def keeps_all(self) -> bool:
        return True

    def begin(self, shape: KeepShape) -> Uniform:
        return Uniform(shape, Retention(last=None))

    def costliest(self, shape: KeepShape) -> Dense:
        return self
