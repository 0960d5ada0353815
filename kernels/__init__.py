"""Attention over a plan of key ranges and the elementwise work around it: each with several back ends."""

from .attention import attend, backend_names, force_backend
from .block_plan import BlockPlan
from .control import force_elementwise, forget_choices
from .dense import Dense, attend_densely
from .device import numbers_on, on_device
from .finish import Finish, HeadTarget, QKNorm, apply_rope, place_heads
from .heads import head_index, put_heads
from .layer_norm import Affine, Modulation, gated_residual, layer_norm, modulate, residual_norm
from .plan import ReadPlan

__all__ = [
    "Affine",
    "BlockPlan",
    "Dense",
    "Finish",
    "HeadTarget",
    "Modulation",
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
