"""Attention over a `ReadPlan`: one entry point, several back ends, one reference."""

from .attention import Dense, attend, attend_densely, force_backend
from .plan import ReadPlan

__all__ = ["Dense", "ReadPlan", "attend", "attend_densely", "force_backend"]
