"""A backbone alone, straight from its file."""

from __future__ import annotations

from pathlib import Path

import torch

from dummy_forcing.core.checkpoints.files.checkpoint_files import read_checkpoint
from dummy_forcing.core.checkpoints.layouts.checks import weights_fingerprint
from dummy_forcing.core.checkpoints.layouts.normal import normalise
from dummy_forcing.core.checkpoints.load import fill_backbone
from dummy_forcing.core.wan.container import CausalWan


def load_backbone(path: Path, dtype: torch.dtype = torch.float32) -> CausalWan:
    """The backbone of a safetensors or PyTorch file, one of several shards, or a folder with one checkpoint."""
    what = f"the backbone {path}"
    return fill_backbone(normalise(*read_checkpoint(path), what), what, dtype=dtype)


def backbone_fingerprint(backbone: CausalWan) -> str:
    """The fingerprint that a file with these weights has."""
    return weights_fingerprint(backbone.shape, dict(backbone.named_parameters()))
