"""Pictures that show their own number, readable after lossy compression: 16 bars, black for 0 and white for 1."""

import numpy as np
import torch

BITS = 16
_SIDE = 8


def numbered(first: int, count: int) -> torch.Tensor:
    """Frames first, first + 1, ... uint8 [count, 64, 128, 3]."""
    numbers = torch.arange(first, first + count)
    bits = (numbers[:, None] >> torch.arange(BITS)) & 1
    row = (255 * bits).to(torch.uint8).repeat_interleave(_SIDE, 1)
    return row[:, None, :, None].expand(-1, 64, -1, 3).contiguous()


def read_number(picture: np.ndarray) -> int:
    """The number on a picture [64, 128, 3]."""
    bars = picture.reshape(64, BITS, _SIDE, 3).mean(axis=(0, 2, 3)) > 127
    return int((bars << np.arange(BITS)).sum())
