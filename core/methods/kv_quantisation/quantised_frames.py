"""Frames of keys or values in 8 bits, with one scale for each channel of each head in each frame.

Some channels of keys are always larger than the others (KIVI, arXiv 2402.02750, section 3); with one scale per
channel they do not cost the others precision. For values, one scale per token is better in some cases and worse in
others (docs/kv_quantisation.md), so values are stored in the same way as keys.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FORMATS = {"int8": (torch.int8, 127.0), "fp8": (torch.float8_e4m3fn, 448.0)}
"""Type and largest number by name."""

_SMALLEST = torch.finfo(torch.float32).tiny


class QuantisedFrames:
    """Room for `slots` frames of [B, tokens of a frame, H, D]."""

    def __init__(self, slots: int, frame: tuple[int, int, int, int], kind: str, device: torch.device):
        """frame: B, tokens, H and D of a frame. kind: one of FORMATS."""
        batch, tokens, heads, channels = frame
        self._dtype, self._largest = FORMATS[kind]
        self._numbers = torch.empty(batch, slots, tokens, heads, channels, dtype=self._dtype, device=device)
        self._scales = torch.empty(batch, slots, 1, heads, channels, dtype=torch.float32, device=device)

    @property
    def slots(self) -> int:
        """Frames there is room for."""
        return self._numbers.shape[1]

    @property
    def bytes(self) -> int:
        """Bytes of numbers and scales."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self._numbers, self._scales))

    def write(self, slot: int, frames: Tensor) -> None:
        """Quantise whole frames [B, L, H, D] into the slots from `slot` on."""
        x = frames.unflatten(1, (-1, self._numbers.shape[2])).float()
        scales = (x.abs().amax(2, keepdim=True) / self._largest).clamp_min(_SMALLEST)
        x = x / scales
        end = slot + x.shape[1]
        self._numbers[:, slot:end] = x.round_() if self._dtype == torch.int8 else x.to(self._dtype)
        self._scales[:, slot:end] = scales

    def read(self, first: int, last: int, out: Tensor) -> None:
        """Dequantise the frames in slots first .. last - 1 into out [B, L, H, D], in out's dtype."""
        into = out.unflatten(1, (last - first, self._numbers.shape[2]))
        # 8-bit numbers are exact in every wider type: what is rounded is their product with the scale, once.
        into.copy_(self._numbers[:, first:last]).mul_(self._scales[:, first:last])

    def take(self, slot: int, heads: slice, other: QuantisedFrames, origin: int, chosen: Any) -> None:
        """Copy frame `origin` of another object, or of this one, to `slot`: its heads `chosen` become `heads`."""
        self._numbers[:, slot][:, :, heads] = other._numbers[:, origin][:, :, chosen]
        self._scales[:, slot][:, :, heads] = other._scales[:, origin][:, :, chosen]

    def take_all(self, other: QuantisedFrames, slots: int) -> None:
        """Copy the first `slots` frames of another with the same heads."""
        self._numbers[:, :slots] = other._numbers[:, :slots]
        self._scales[:, :slots] = other._scales[:, :slots]

    def free(self) -> None:
        """Let go of the tensors."""
        self._numbers, self._scales = self._numbers.new_empty(0), self._scales.new_empty(0)
