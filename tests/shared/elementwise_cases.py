"""What tests of element-wise kernels draw and run."""

import pytest
import torch
from attention_cases import TRITON

NAMES = ["torch", pytest.param("fused", marks=TRITON)]
EPS = 1e-6


def draw(*size, seed, dtype=torch.float32):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype)
