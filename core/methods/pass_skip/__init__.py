"""Pass skipping: a denoising pass that would hardly change anything reuses the blocks' residual of the pass before.

A skipped pass still embeds its latents and its timestep and runs the head; in place of the blocks it adds their
residual from the last computed pass: out = in + (out - in of that pass). It writes no keys and values, and need
not: the first and the clean pass of a chunk are always computed.

Source: TeaCache (arXiv 2411.19108), coefficients and rule as in the Dummy Forcing and Forcing-KV repositories
(docs/references.md, "TeaCache on few steps"). Its indicator depends on the timestep alone, so that on a model of a
few steps it comes down to a fixed list of passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import DummyForcingError
from ..base import PassMethod
from ..declaration import option


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


@dataclass(frozen=True)
class PassSkip(
    PassMethod,
    name="pass_skip",
    title="Pass skipping",
    about="Some denoising passes reuse what the blocks did in the pass before.",
):
    """Which denoising passes of every chunk are skipped: by a list or, if there is a threshold, by TeaCache's rule.

    Attributes:
        passes: indices of skipped passes, 0 being a chunk's first; () skips none. (1,) if no rule is given.
        threshold: TeaCache's rule: passes are skipped as long as the estimated changes since the last computed one
            add up to less. The authors of Dummy Forcing use 0.2. Useful only with many steps: the polynomial was
            fitted to small steps and is even negative for relative changes from about 0.18 to 0.32.

    Raises:
        DummyForcingError: both rules, the first pass in the list, or a threshold that is no number above 0.
    """

    passes: tuple[int, ...] | None = option(
        None,
        "Denoising passes of every chunk to skip, with commas in between: 1 is the second pass. The first (0) and "
        "the clean pass are always computed. Empty: none.",
        flag="skip-passes",
        parse=parse_passes,
        form="N[,N]",
        selects=True,
    )
    threshold: float | None = option(
        None,
        "Passes are skipped while their estimated changes add up to less. Higher is faster and rougher. The "
        "estimate was made for Wan 2.1 1.3B.",
        low=0.0,
        above=True,
        least=0.01,
        most=100.0,
        flag="skip-threshold",
        parse=float,
        selects=True,
    )

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

    def check_passes(self, passes: int) -> None:
        """Raises DummyForcingError if the list names a pass beyond a chunk's number of denoising passes."""
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

    def describe(self) -> str:
        if self.threshold is not None:
            return f"passes skipped by TeaCache's rule, {self.threshold:g}"
        return f"{', '.join(map(str, self.passes))} of each chunk skipped" if self.passes else "all computed"

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form with only the rule in force; `from_dict` inverts it."""
        if self.threshold is None:
            return {"passes": list(self.passes)}
        return {"threshold": self.threshold}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PassSkip:
        """Raises DummyForcingError for anything that `to_dict` would not return."""
        if not isinstance(values, Mapping) or set(values) - {"passes", "threshold"}:
            raise DummyForcingError(f"pass skipping is {values!r}; expected an object with 'passes' or 'threshold'")
        return cls(**values)


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
