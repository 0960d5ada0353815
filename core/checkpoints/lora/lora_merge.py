"""Merging a LoRA into weights, one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import DummyForcingError
from .lora_names import DOWN, UP, Part


@dataclass(frozen=True, eq=False)
class Merge:
    """A checked LoRA (`lora.lora_parts`), ready to be added to the weights it belongs to."""

    parts: Mapping[Part, Tensor]

    @property
    def targets(self) -> frozenset[str]:
        """Names of the parameters that the LoRA may change, with `.weight` or `.bias` or without an ending."""
        return frozenset(name for module, kind in self.parts for name in _targets(module, kind))

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """W + alpha / rank * B A, plus full differences; computed in fp32, returned in the weight's type.

        Without `alpha` the scale is 1. That is right for LongLive, RAVEN and MemFlow, whose rank and alpha are both
        256. A weight that the LoRA does not touch is returned as it is.
        """
        changes = [change for change in (self._product(name), *self._differences(name)) if change is not None]
        if not changes:
            return weight
        total = weight.to(torch.float32)
        for change in changes:
            total = total + change.reshape(weight.shape)
        return total.to(weight.dtype)

    def _product(self, name: str) -> Tensor | None:
        module = name.removesuffix(".weight")
        down, up = self.parts.get((module, DOWN)), self.parts.get((module, UP))
        if down is None or up is None:
            return None
        alpha = self.parts.get((module, "alpha"))
        scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
        return scale * (up.flatten(1).to(torch.float32) @ down.flatten(1).to(torch.float32))

    def _differences(self, name: str) -> list[Tensor]:
        found = (self.parts.get(part) for part in ((name.removesuffix(".weight"), "diff"), (name, "diff")))
        whole = next((value for value in found if value is not None), None)
        of_bias = self.parts.get((name.removesuffix(".bias"), "diff_b")) if name.endswith(".bias") else None
        return [value.to(torch.float32) for value in (whole, of_bias) if value is not None]


def merge_all(merges: Iterable[Merge], name: str, weight: Tensor) -> Tensor:
    """A weight with all LoRAs merged into it, in the given order."""
    for each in merges:
        weight = each.merged(name, weight)
    return weight


def check_mergeable(merge: Merge, quantised: Iterable[str], what: str) -> None:
    """Raise DummyForcingError if the LoRA changes quantised weights.

    The numbers that quantised weights store are not weights, so nothing can be added to them.
    """
    hit = sorted(merge.targets.intersection(quantised))
    if hit:
        raise DummyForcingError(
            f"{what} has quantised weights ({hit[0]!r} and others), into which no LoRA can be merged; "
            "use a checkpoint that is not quantised, or load both in ComfyUI"
        )


def _targets(module: str, kind: str) -> tuple[str, ...]:
    return (f"{module}.bias",) if kind == "diff_b" else (f"{module}.weight", module)
