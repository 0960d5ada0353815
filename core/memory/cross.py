"""The cross slot: which tokens of the prompt a pass reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...kernels import Dense
from .clock import ChunkClock


class CrossRun(Protocol):
    """A method of the cross slot at work on one video."""

    def attention(self, dense: Dense, clock: ChunkClock) -> Dense:
        """What cross-attention of a pass runs in place of `dense`, which reads all tokens of the prompt."""
        ...


class CrossMethod(Protocol):
    """A method of the cross slot: frozen, JSON-serialisable configuration."""

    def begin(self) -> CrossRun: ...


@dataclass(frozen=True)
class AllTokens:
    """Every query reads the whole prompt, its padding included, as Wan was trained."""

    def begin(self) -> AllTokens:
        return self

    def attention(self, dense: Dense, clock: ChunkClock) -> Dense:
        return dense
