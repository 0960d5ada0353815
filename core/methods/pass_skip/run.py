"""Pass skipping at work on one video: TeaCache's indicator, and the residual that a skipped pass takes over."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...clock import ChunkClock
from . import PassSkip

COEFFICIENTS = (2396.76752, -1311.10545, 201.331979, -8.29855975, 0.137887774)
"""TeaCache's polynomial for Wan 2.1 1.3B, highest degree first."""


class PassSkipRun:
    """Residual reuse in one video under one conditioning, for the `reuse` of `forward_chunk`.

    It holds one residual [B, L, dim], from a chunk's first pass to its clean pass. To decide by a threshold, one
    number per step of the schedule must be read from the device. That happens in the first chunk; all later chunks
    make the same decisions, without synchronisation.

    Attributes:
        passes, passes_skipped: seen so far, clean passes included, and how many of them took the residual.
        skipped: whether the last one did.
    """

    def __init__(self, config: PassSkip):
        self.passes = self.passes_skipped = 0
        self._config = config
        self._changes: dict[tuple[float, float], float] = {}
        self._forget()

    def __call__(
        self, tokens: Tensor, modulation: Tensor, clock: ChunkClock, blocks: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The result of `blocks` on tokens [B, L, dim], or of the residual in their place."""
        if clock.clean or clock.pass_index == 0 or clock.chunk != self._chunk:
            self._forget()
        self._chunk = clock.chunk
        due = self._due(modulation, clock)
        self.skipped = due and self._residual is not None
        self.passes += 1
        self.passes_skipped += self.skipped
        if self.skipped:
            return tokens + self._residual
        self._residual = None  # frees the old residual before the new one is allocated
        self._estimate = 0.0
        out = blocks(tokens)
        if not clock.clean and self._config.reaches_beyond(clock.pass_index):
            self._residual = out - tokens
        return out

    def close(self) -> None:
        """Free the residual."""
        self._forget()

    def _forget(self) -> None:
        """Begin a new chunk: there is nothing to reuse or to compare with."""
        self.skipped = False
        self._chunk: int | None = None
        self._residual: Tensor | None = None
        self._estimate = 0.0
        self._last: tuple[float, Tensor] | None = None

    def _due(self, modulation: Tensor, clock: ChunkClock) -> bool:
        if self._config.threshold is None:
            return not clock.clean and clock.pass_index in self._config.passes
        before, self._last = self._last, (clock.sigma, modulation)
        if before is None or clock.clean:
            return False
        self._estimate += polynomial(self._change(before, self._last))
        return self._estimate < self._config.threshold

    def _change(self, before: tuple[float, Tensor], now: tuple[float, Tensor]) -> float:
        step = before[0], now[0]
        if step not in self._changes:
            self._changes[step] = relative_change(before[1], now[1])
        return self._changes[step]


def relative_change(before: Tensor, now: Tensor) -> float:
    """TeaCache's indicator: mean absolute change relative to the mean absolute value before."""
    before, now = before.float(), now.float()
    return ((now - before).abs().mean() / before.abs().mean()).item()


def polynomial(change: float) -> float:
    """TeaCache's estimate of how much the blocks' output changes, from the indicator."""
    value = 0.0
    for coefficient in COEFFICIENTS:
        value = value * change + coefficient
    return value
