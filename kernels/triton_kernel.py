"""Triton kernels: built on first use, so that modules with kernels can be imported without Triton."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def interpreted() -> bool:
    """Whether Triton interprets its kernels in Python; Triton itself reads this when it is imported."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


def runs_on(x: Tensor) -> bool:
    """Whether kernels can run on a tensor's device: CUDA or, only under the interpreter, the CPU."""
    return x.dtype in FLOATS and x.is_cuda != interpreted() and x.device.type in ("cuda", "cpu")


def at_least(size: int) -> int:
    """The smallest power of two that is at least `size`: tiles must have such sizes."""
    return 1 << max(0, size - 1).bit_length()


@cache
def built(function: Callable[..., None]) -> Any:
    """A function of this package as a Triton kernel."""
    import triton
    import triton.language

    # In the module's globals, because older Tritons and the interpreter look up a kernel's names only there.
    function.__globals__["tl"] = triton.language
    return triton.jit(function)


def launch(function: Callable[..., None], grid: tuple[int, ...], like: Tensor, *arguments: Any, **constants: Any):
    """Run a kernel on the device of `like`; Triton's own errors become RuntimeError, as those of libraries are."""
    kernel = built(function)
    from triton.errors import TritonError

    try:
        with torch.cuda.device(like.device) if like.is_cuda else torch.no_grad():
            kernel[grid](*arguments, **constants)
    except TritonError as error:
        raise RuntimeError(f"the Triton kernel cannot run: {error}") from error
