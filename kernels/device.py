"""Between the host and a device without waiting for what the device still has to do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to a device, through pinned memory: copies from other memory wait for the device."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    # CUDA only: on MPS and XPU the source of such a copy has been seen to change before it was made.
    return tensor.to(device, non_blocking=device.type in ("cuda", "meta"))


def numbers_on(values: Sequence, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Python numbers as a tensor on a device."""
    return on_device(torch.tensor(values, dtype=dtype), device)


class HostCopy:
    """A copy on the host, made without stopping the host from queueing work.

    On a GPU the copy is queued like all other work; reading waits only until the copy is made, not for work queued
    after it. On the meta device all numbers are 0.
    """

    def __init__(self, like: Tensor):
        self._numbers = torch.zeros(like.shape, dtype=like.dtype, pin_memory=like.is_cuda)
        self._copied = torch.cuda.Event() if like.is_cuda else None

    def send(self, numbers: Tensor) -> None:
        """Queue a copy of numbers that are on the device; they replace those sent before."""
        if numbers.device.type == "meta":
            return
        self._numbers.copy_(numbers, non_blocking=self._copied is not None)
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(numbers.device))

    def read(self) -> list:
        """The numbers sent last, as a nested list."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._numbers.tolist()
