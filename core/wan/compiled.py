"""`torch.compile` of a block's parts.

Attention and memory stay as they are: they change with every chunk, the parts around them do not. One compilation
of each part serves all layers, passes and chunks; chunks of another length, such as a start image, get their own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch

from ...kernels.libraries import in_one_line
from .block import EAGER, BlockParts

logger = logging.getLogger("dummy_forcing")


@lru_cache(maxsize=8)
def compiled_parts(backend: str | Callable = "inductor") -> BlockParts:
    """A block's parts, compiled when they are first called.

    Args:
        backend: of `torch.compile`. Inductor needs a C++ compiler on a CPU and Triton on a GPU; where it fails, the
            parts run as they are, which costs one warning.
    """
    compiler = _Compiler(backend)
    parts = (EAGER.project, EAGER.prompt_queries, EAGER.feed_forward)
    return BlockParts(*(compiler.wrap(part) for part in parts))


class _Compiler:
    """Compiles functions for each length they are called with, until a compilation fails."""

    def __init__(self, backend: str | Callable):
        self._backend = backend
        self._failed = False

    def wrap(self, function: Callable) -> Callable:
        # dynamic=False: a short first chunk must not make the code for all others generic, which is slower.
        compiled = torch.compile(function, backend=self._backend, dynamic=False)

        @wraps(function)
        def run(*arguments: Any) -> Any:
            if not self._failed:
                from torch._dynamo.exc import TorchDynamoException

                try:
                    return compiled(*arguments)
                except TorchDynamoException as error:
                    self._give_up(getattr(error, "inner_exception", error))
            return function(*arguments)

        return run

    def _give_up(self, error: Exception) -> None:
        self._failed = True
        logger.warning("torch.compile failed (%s): the model goes on without it", in_one_line(error))
