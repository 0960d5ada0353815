"""What is inside a MODEL: its causal backbone, and what the patch nodes have set on it."""

from __future__ import annotations

from torch import nn

from ...core.errors import DummyForcingError
from ...core.memory_config import MemoryConfig
from ...core.wan.shape import WanShape
from ..patches.model_patch import ModelPatch

PATCH_KEY = "dummy_forcing.patch"


def causal_backbone(model) -> nn.Module:
    """The causal Wan inside a MODEL.

    Raises:
        DummyForcingError: the model is not autoregressive.
    """
    backbone = model.get_model_object("diffusion_model")
    if not hasattr(backbone, "init_kv_caches"):
        raise DummyForcingError(
            f"this model ({type(backbone).__name__}) is not autoregressive, or was loaded as an ordinary one; "
            "load an AR video checkpoint with 'Load AR Video Model'"
        )
    return backbone


def shape_of(module) -> WanShape:
    """Sizes of a backbone from the module's attributes, since its tensors may be packed (quantised, GGUF)."""
    return WanShape(
        dim=module.dim,
        heads=module.num_heads,
        layers=len(module.blocks),
        ffn_dim=module.ffn_dim,
        text_dim=module.text_dim,
        in_channels=module.in_dim,
        out_channels=module.out_dim,
        freq_dim=module.freq_dim,
    )


def model_patch(model) -> ModelPatch:
    """What the patch nodes have set so far; without any, dense memory and every pass computed."""
    return model.get_attachment(PATCH_KEY) or ModelPatch()


def memory_config(model) -> MemoryConfig:
    """The memory that the patch nodes have set so far; dense if none has."""
    return model_patch(model).memory
