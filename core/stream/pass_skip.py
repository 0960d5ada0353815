"""Pass skipping: a denoising pass that hardly changes anything takes over what the blocks did in the pass before.

A skipped pass still embeds its latents and its timestep and runs the head; in place of the blocks it adds their
residual of the last computed pass, out = in + (out - in of then). It writes no keys and values, and need not: the
first and the clean pass of a chunk are always computed.

Source: TeaCache (arXiv 2411.19108), coefficients and rule as in the Dummy Forcing and Forcing-KV repositories
(METHODS.md 5). Its indicator depends on the timestep alone, so that on a model of a few steps it comes down to a
fixed list of passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import DummyForcingError
from ..memory.clock import ChunkClock

COEFFICIENTS = (2396.76752, -1311.10545, 201.331979, -8.29855975, 0.137887774)
"""TeaCache's polynomial for Wan 2.1 1.3B, highest degree first."""


@dataclass(frozen=True)
class PassSkip:
    """Which denoising passes of every chunk are skipped: by a list or, if there is a threshold, by TeaCache's rule.

    Attributes:
        passes: indices of skipped passes, 0 being a chunk's first; () skips none. (1,) if no rule is given.
        threshold: TeaCache's rule: passes are skipped as long as the estimated changes since the last computed one
            add up to less. The authors of Dummy Forcing use 0.2. Of use with many steps only: the polynomial was
            fitted to small steps and is even negative for relative changes from about 0.18 to 0.32.

    Raises:
        DummyForcingError: both rules, the first pass in the list, or a threshold that is no number above 0.
    """

    passes: tuple[int, ...] | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is None:
            object.__setattr__(self, "passes", _check_list((1,) if self.passes is None else self.passes))
        elif self.passes is not None:
            raise DummyForcingError(
                "pass skipping follows a list of passes or a threshold; both were given, leave one out"
            )
        elif not (_is_number(self.threshold) and 0 < self.threshold < math.inf):
            raise DummyForcingError(
                f"the threshold of pass skipping is {self.threshold!r}; expected a number above 0"
            )

    def check(self, passes: int) -> None:
        """Raises DummyForcingError where the list names passes that a chunk of so many denoising passes lacks."""
        last = max(self.passes or (0,))
        if last < passes:
            return
        reason = "it is the clean pass, whose keys and values are kept" if last == passes else "there is none"
        remedy = f"list passes from 1 to {passes - 1}" if passes > 1 else "take more steps or skip none"
        raise DummyForcingError(
            f"pass {last} of a chunk with {passes} denoising pass{'es' * (passes > 1)} cannot be skipped: {reason}"
            f"; {remedy}"
        )

    def reaches_beyond(self, index: int) -> bool:
        """Whether a pass after the one of this index may be skipped."""
        return self.passes is None or any(later > index for later in self.passes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form, the rule in force alone; `from_dict` inverts it."""
        if self.threshold is None:
            return {"passes": list(self.passes)}
        return {"threshold": self.threshold}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PassSkip:
        """Raises DummyForcingError for anything that `to_dict` would not give."""
        if not isinstance(values, Mapping) or set(values) - {"passes", "threshold"}:
            raise DummyForcingError(f"pass skipping is {values!r}; expected an object with 'passes' or 'threshold'")
        return cls(**values)


class PassSkipRun:
    """Residual reuse in one video under one conditioning, for the `reuse` of `forward_chunk`.

    It holds one residual [B, L, dim], from a chunk's first pass to its clean pass. The decisions of a threshold
    need a number off the device for every step of the schedule; they come up in the first chunk and are the same in
    all others, which go without synchronisation.

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
        """What `blocks` make of tokens [B, L, dim], or the residual in their place."""
        if clock.clean or clock.pass_index == 0 or clock.chunk != self._chunk:
            self._forget()
        self._chunk = clock.chunk
        due = self._due(modulation, clock)
        self.skipped = due and self._residual is not None
        self.passes += 1
        self.passes_skipped += self.skipped
        if self.skipped:
            return tokens + self._residual
        self._residual = None  # not two at a time
        self._estimate = 0.0
        out = blocks(tokens)
        if not clock.clean and self._config.reaches_beyond(clock.pass_index):
            self._residual = out - tokens
        return out

    def close(self) -> None:
        """Free the residual."""
        self._forget()

    def _forget(self) -> None:
        """A new chunk: nothing to reuse, nothing to compare with."""
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


def parse_passes(text: str) -> tuple[int, ...]:
    """Pass indices as people type them: "1" or "1, 3"; an empty text names none.

    Raises:
        DummyForcingError: anything else.
    """
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise DummyForcingError(
            f"the passes to skip are {text!r}; expected whole numbers with commas in between, such as 1 or 1,3"
        ) from None


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


def _check_list(passes: Iterable[int]) -> tuple[int, ...]:
    """The passes in order, each once."""
    if not isinstance(passes, list | tuple) or not all(_is_number(each) and each == int(each) for each in passes):
        raise DummyForcingError(f"the passes to skip are {passes!r}; expected a list of whole numbers such as [1]")
    if any(each < 0 for each in passes):
        raise DummyForcingError(
            f"pass {min(passes)} cannot be skipped; passes of a chunk count from 0, list 1 and up"
        )
    if 0 in passes:
        raise DummyForcingError(
            "pass 0 cannot be skipped: a chunk's first pass has none before it to reuse; list passes from 1 on"
        )
    return tuple(sorted({int(each) for each in passes}))


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
