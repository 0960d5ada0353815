"""Noise levels of the denoising passes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..errors import DummyForcingError

TRAINING_STEPS = 1000


def shift_sigma(sigma: float, shift: float) -> float:
    """Flow-matching time shift: shift * s / (1 + (shift - 1) * s), written such that 1 stays exactly 1."""
    return shift * sigma / (shift * sigma + (1 - sigma))


def warp_steps(steps: Sequence[float], shift: float) -> tuple[float, ...]:
    """Step list of a distilled model -> noise levels, ending with 0.

    `steps` are decreasing timesteps in (0, 1000]; with shift 5 the common 1000, 750, 500, 250 become
    1, 0.9375, 0.8333, 0.625 (docs/references.md, "Warped steps"). Shift 1 leaves a list unwarped.
    """
    valid = steps and all(a > b for a, b in pairwise(steps))
    if not valid or not 0 < steps[-1] <= steps[0] <= TRAINING_STEPS:
        raise DummyForcingError(f"step list {list(steps)}: expected decreasing timesteps above 0 and up to 1000")
    if not 0 < shift < float("inf"):
        raise DummyForcingError(f"shift is {shift}; expected a number above 0")
    return (*(shift_sigma(step / TRAINING_STEPS, shift) for step in steps), 0.0)


def even_steps(count: int) -> tuple[float, ...]:
    """`count` evenly spaced timesteps from 1000 down: 4 -> 1000, 750, 500, 250."""
    if count < 1:
        raise DummyForcingError(f"{count} steps: expected at least one denoising pass a chunk")
    return tuple(TRAINING_STEPS * (count - i) / count for i in range(count))


def levels_from_strength(sigmas: Sequence[float], strength: float) -> tuple[float, ...]:
    """Noise levels of video to video: `strength` first, then the levels below it.

    The video to change is mixed with that share of noise; 1 leaves nothing of it (docs/references.md, "Video to
    video").

    Raises:
        DummyForcingError: a strength that is not above 0 and at most 1.
    """
    if not 0 < strength <= 1:
        raise DummyForcingError(f"strength is {strength}; expected a share above 0 and up to 1")
    return (strength, *(sigma for sigma in sigmas if sigma < strength))
