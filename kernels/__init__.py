"""Attention over a plan of key ranges and the elementwise work around it: each with several back ends."""

from .attention import attend, backend_names, force_backend
from .block_plan import BlockPlan
from .dense_attention import DenseAttention, attend_densely
from .device import HostCopy, numbers_on, on_device
from .dispatch import force_elementwise, forget_choices
from .heads import head_index, put_heads
from .layer_norm import Affine, Modulation, gated_residual, layer_norm, modulate, residual_norm
from .norm_rope import HeadTarget, NormRope, QKNorm, apply_rope, place_heads
from .plan import ReadPlan

__all__ = [
    "Affine",
    "BlockPlan",
    "DenseAttention",
    "HeadTarget",
    "HostCopy",
    "Modulation",
    "NormRope",
    "QKNorm",
    "ReadPlan",
    "apply_rope",
    "attend",
    "attend_densely",
    "backend_names",
    "force_backend",
    "force_elementwise",
    "forget_choices",
    "gated_residual",
    "head_index",
    "layer_norm",
    "modulate",
    "numbers_on",
    "on_device",
    "place_heads",
    "put_heads",
    "residual_norm",
]
