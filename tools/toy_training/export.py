"""Stage 4: both weight files as ComfyUI and this package load them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.vae import WanVAE

BACKBONE_FILE = "toy_backbone.safetensors"
VAE_FILE = "toy_vae.safetensors"


def export(folder: Path, backbone: CausalWan, vae: WanVAE) -> None:
    """Write the backbone in bf16, with the metadata by which ComfyUI knows a causal model, and the VAE in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = backbone.shape
    config = {"transformer": {"causal_ar": True, "num_heads": shape.heads, "text_dim": shape.text_dim}}
    _save(backbone, torch.bfloat16, folder / BACKBONE_FILE, {"config": json.dumps(config)})
    _save(vae, torch.float16, folder / VAE_FILE, {})


def _save(model: torch.nn.Module, dtype: torch.dtype, path: Path, metadata: dict[str, str]) -> None:
    tensors = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, path, metadata={"format": "pt", "licence": "Apache-2.0", **metadata})
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
