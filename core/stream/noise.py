"""Seeded noise: the same seed gives the same video on every device, and no global generator is touched."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

# JavaScript has whole numbers up to here: of larger ones a browser sends others than were typed.
MOST_SEED = 2**53 - 1


class NoiseSource(Protocol):
    """Where the loop gets its noise from."""

    def draw(self, chunk: int, pass_index: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal fp32 noise on the CPU; pass 0 is the chunk's initial noise."""
        ...


class SeededNoise:
    """Noise keyed by (seed, chunk, pass) through a hash, so that neighbouring seeds share nothing."""

    def __init__(self, seed: int):
        self.seed = seed

    def draw(self, chunk: int, pass_index: int, shape: tuple[int, ...]) -> Tensor:
        import torch  # here: the command line asks for MOST_SEED before it needs torch

        key = hashlib.sha256(f"{self.seed}/{chunk}/{pass_index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little", signed=True))
        return torch.randn(shape, generator=generator)
