"""Attention over a `ReadPlan`: one entry point, several back ends, one reference."""

from .attention import attend, force_backend
from .plan import ReadPlan

__all__ = ["ReadPlan", "attend", "force_backend"]
