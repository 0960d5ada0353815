"""Attention over a plan of key ranges: one entry point, several back ends, one reference."""

from .attention import attend, backend_names, force_backend, forget_choices
from .block_plan import BlockPlan
from .dense import Dense, attend_densely
from .heads import head_index
from .plan import ReadPlan

__all__ = [
    "BlockPlan",
    "Dense",
    "ReadPlan",
    "attend",
    "attend_densely",
    "backend_names",
    "force_backend",
    "forget_choices",
    "head_index",
]
