"""Fixtures that several folders of unit tests share."""

import os

import pytest
import torch
from shared_fixtures import no_gc, one_thread, residuals  # noqa: F401

from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton, as torch.compile does

TINY = WanShape(dim=48, heads=4, layers=2, ffn_dim=64, text_dim=16, in_channels=4, out_channels=4, freq_dim=32)


@pytest.fixture(scope="session")
def tiny_wan() -> CausalWan:
    """A random causal Wan of 2 layers x 4 heads that takes 4-channel latents; tests must leave it as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CausalWan(TINY).requires_grad_(False)
