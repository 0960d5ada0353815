"""When the frames of a file are shown: exact times and rates, from its time stamps wherever it has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

MOST_DENOMINATOR = 1001
"""The largest denominator of a rate that no header names; enough for 24000/1001."""


def stamped(frames: Iterable[Any], tick: Fraction, period: Fraction) -> Iterator[tuple[Any, Fraction]]:
    """Decoded frames with their times in seconds since the first of them.

    A frame without a stamp (raw streams have none), or with one no later than the frame before, comes `period`
    after that frame.

    Args:
        frames: their `pts` is in ticks, or None.
        tick, period: seconds.
    """
    first = time = None
    for frame in frames:
        expected = Fraction(0) if time is None else time + period
        if frame.pts is not None and first is None:
            first = frame.pts - expected / tick
        found = expected if frame.pts is None else (frame.pts - first) * tick
        time = found if time is None or found > time else expected
        yield frame, time


def mean_rate(stamps: Sequence[int], tick: Fraction, named: Sequence[Fraction]) -> Fraction | None:
    """Frames a second on average.

    Stamps are rounded to ticks (1/100 s in a GIF), so several rates may fit them. The first rate that the file
    names is taken if it fits, else a whole number, else another rate that the file names, else that of the stamps.

    Args:
        stamps: of all frames, in ticks; in any order.
        tick: seconds.
        named: rates that the file names, most trusted first; may be empty.
    """
    gaps, span = len(stamps) - 1, max(stamps, default=0) - min(stamps, default=0)
    if gaps < 1 or not span:
        return named[0] if named else None
    measured = Fraction(gaps, span) / tick
    whole = Fraction(max(1, math.floor(measured + Fraction(1, 2))))
    for rate in (*named[:1], whole, *named[1:]):
        if abs(gaps / rate - span * tick) <= tick:
            return rate
    return measured.limit_denominator(MOST_DENOMINATOR)
