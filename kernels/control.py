"""Choices for all of this package: names for elementwise work, and forgetting what has been measured."""

from __future__ import annotations

import contextlib

from . import choice
from .attention import BACKENDS
from .dense import DENSE
from .finish import FINISH
from .layer_norm import LAYER_NORM
from .override import ATTENTION, ELEMENTWISE, ELEMENTWISE_NAMES
from .varlen import VARLEN


def force_elementwise(name: str) -> contextlib.AbstractContextManager[None]:
    """As `force_backend`, for norms, RoPE and residuals: 'torch', 'fused' or 'kitchen'."""
    return ELEMENTWISE.forced(name, ELEMENTWISE_NAMES)


def forget_choices() -> None:
    """Measure and report everything anew; for tests and benchmarks."""
    choice.forget()
    for dispatcher in (BACKENDS, DENSE, VARLEN, FINISH, LAYER_NORM):
        dispatcher.forget()
    for override in (ATTENTION, ELEMENTWISE):
        override.forget()
