"""Numbers computed on a device that the host needs later."""

from __future__ import annotations

import torch
from torch import Tensor


class HostCopy:
    """A copy on the host that does not stop it from queueing work.

    On a GPU the copy is queued with everything else; reading waits only until it has been made, not for what was
    queued behind it. On the meta device all numbers are 0.
    """

    def __init__(self, like: Tensor):
        self._numbers = torch.zeros(like.shape, dtype=like.dtype, pin_memory=like.is_cuda)
        self._copied = torch.cuda.Event() if like.is_cuda else None

    def send(self, numbers: Tensor) -> None:
        """Queue a copy of numbers on the device; they replace the last ones."""
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
