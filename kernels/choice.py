"""The fastest of several ways to compute the same: each is timed once for a kind of call, the winner is kept.

What it costs: one run of each candidate to warm up (a Triton kernel compiles there) and `_ROUNDS` timed ones, in
the first call of a kind. Callers put sizes into the kind by powers of two (`dispatch.bucket`), so that a growing
history is timed a few times in a video and every layer and later chunk reuses the winner.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor

from .libraries import in_one_line

logger = logging.getLogger("dummy_forcing")

FAILURES = (ImportError, OSError, RuntimeError, AttributeError, TypeError)
"""What a library raises that does not fit the machine, the driver or the call."""

_ROUNDS = 3
_winners: dict[Hashable, str] = {}
_said: set[tuple[str, str]] = set()

Candidates = Mapping[str, Callable[[], Tensor]]


def fastest(what: str, kind: Hashable, candidates: Candidates, device: torch.device) -> str:
    """The name of the fastest candidate for a kind of call.

    A single candidate is not timed. Nothing can be timed while a CUDA graph is captured or a function compiled:
    then the winner of an earlier call is taken or, for this call only, the first candidate. Where torch is told to
    be deterministic the first candidate is taken, since times vary. A candidate that fails is dropped.

    Raises:
        RuntimeError: every candidate failed.
    """
    first = next(iter(candidates))
    if len(candidates) == 1 or torch.are_deterministic_algorithms_enabled():
        return first
    place = (what, kind, device, tuple(candidates))
    if place not in _winners:
        if cannot_wait(device):
            return first
        _winners[place] = _measured(what, candidates, device)
    return _winners[place]


def cannot_wait(device: torch.device) -> bool:
    """Whether a CUDA graph is being captured, or a function compiled."""
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return capturing or torch.compiler.is_compiling()


def forget() -> None:
    """Time everything anew; for tests and benchmarks."""
    _winners.clear()
    _said.clear()


def _measured(what: str, candidates: Candidates, device: torch.device) -> str:
    seconds, failures = {}, {}
    for name, run in candidates.items():
        try:
            run()
            seconds[name] = math.inf
        except FAILURES as error:
            failures[name] = error
    if not seconds:
        raise RuntimeError("; ".join(f"{name}: {in_one_line(error)}" for name, error in failures.items()))
    for _ in range(_ROUNDS if len(seconds) > 1 else 0):  # in turns, so that a busy machine slows all of them
        for name in seconds:
            seconds[name] = min(seconds[name], _seconds(candidates[name], device))
    winner = min(seconds, key=seconds.__getitem__)
    _report(what, winner, seconds, failures)
    return winner


def _seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    if device.type != "cuda":
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    with torch.cuda.device(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
    return begin.elapsed_time(end) / 1e3


def _report(what: str, winner: str, seconds: dict[str, float], failures: dict[str, Exception]) -> None:
    """Log one line at level info when something first wins; everything else at level debug."""
    level = logging.DEBUG if (what, winner) in _said else logging.INFO
    _said.add((what, winner))
    times = [f"{name} {1e3 * taken:.3g} ms" for name, taken in sorted(seconds.items(), key=lambda item: item[1])]
    failed = [f"{name} failed ({in_one_line(error)})" for name, error in failures.items()]
    reason = f"fastest of {', '.join(times)}" if len(seconds) > 1 else "the only one that ran"
    logger.log(level, "%s: %s (%s)", what, winner, "; ".join([reason, *failed]))
