"""Triton kernels: built when first wanted, so that Triton is not needed to import a module that has one."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def interpreted() -> bool:
    """Whether Triton runs its kernels in Python, as it decides when it is imported."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


def runs_on(x: Tensor) -> bool:
    """Whether kernels can run where a tensor is: on CUDA, under the interpreter on a CPU."""
    return x.dtype in FLOATS and x.is_cuda != interpreted() and x.device.type in ("cuda", "cpu")


def at_least(size: int) -> int:
    """The power of two that a tile needs to hold so many elements."""
    return 1 << max(0, size - 1).bit_length()


@cache
def built(function: Callable[..., None]) -> Any:
    """A function of this package as a Triton kernel."""
    import triton
    import triton.language

    # Globals, because older Tritons and the interpreter resolve names of a kernel there only.
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
