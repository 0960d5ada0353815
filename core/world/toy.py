"""The toy world's model: small enough for any CPU, shipped with the package."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoints.model import ARVideoModel, open_checkpoint
from ..errors import DummyForcingError

WEIGHTS = Path(__file__).resolve().parent / "weights"
BACKBONE_FILE = "toy_backbone.safetensors"
VAE_FILE = "toy_vae.safetensors"
FAMILY = "toy-world"


def open_toy_world(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, fp8: bool = False
) -> ARVideoModel:
    """Open the built-in model; its prompts are those of `vocabulary`. Arguments as for `open_checkpoint`.

    Raises:
        DummyForcingError: the weights are not part of this installation.
    """
    for name in (BACKBONE_FILE, VAE_FILE):
        if not (WEIGHTS / name).is_file():
            raise DummyForcingError(
                f"the toy world's weights are missing: there is no {WEIGHTS / name}; "
                "install the package again or train them with tools/train_toy_world.py"
            )
    return open_checkpoint(
        WEIGHTS / BACKBONE_FILE, vae=WEIGHTS / VAE_FILE, family=FAMILY, device=device, dtype=dtype, fp8=fp8
    )
