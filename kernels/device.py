"""From the host to a device without waiting for what the device still has to do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device. Through pinned memory, since copies of any other wait for the device."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    # Not everywhere: on MPS and XPU such copies have been overtaken by what changes their source.
    return tensor.to(device, non_blocking=device.type in ("cuda", "meta"))


def numbers_on(values: Sequence, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers of Python as a tensor on a device."""
    return on_device(torch.tensor(values, dtype=dtype), device)
