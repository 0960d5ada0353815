"""Which LoRA goes with which checkpoint. What a missing, wrong or doubled one spoils is hard to see in a video.

LongLive's published base is where its long training started, not the finished model: without its LoRA it drifts
(docs/references.md, "LongLive's LoRA").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...errors import DummyForcingError
from ...wan.shape import WanShape
from ..families.detect_family import own_name, words_of
from ..families.family import Family
from .lora_file import lora_parts
from .lora_merge import Merge
from .lora_names import DOWN, Part

LORA_KEY = "dummy_forcing.lora"
"""Entry of safetensors metadata in which `convert` writes the name of the LoRA that it merged."""

_CONTAINER = "generator_lora."
_OF_A_BLOCK = (
    *(f"{attention}.{layer}" for attention in ("self_attn", "cross_attn") for layer in "qkvo"),
    "ffn.0",
    "ffn.2",
)

# Models that have a LoRA of their own, and patterns of its file name. MemFlow is not in the family table.
_NAMES = {"memflow": r"mem ?flow", "longlive": r"long ?live", "raven": r"\braven\b|\bcm ?grpo\b"}


@dataclass(frozen=True, eq=False)
class LoraFile:
    """A LoRA that fits the model's sizes.

    Attributes:
        name: of the file, as it is shown to people.
        merge: adds it to weights.
        changes_all: whether it changes every linear layer of every block, as the LoRAs of families do.
        belongs_to: name of the model, usually a family, that it is part of; None for any other LoRA.
    """

    name: str
    merge: Merge
    changes_all: bool
    belongs_to: str | None


def read_lora(tensors: Mapping[str, Tensor], shape: WanShape, name: str, what: str) -> LoraFile:
    """Check a LoRA against the model's sizes and find out which model it belongs to.

    Args:
        tensors: as read from the file.
        name: of the file, with the folders that are shown to people.
        what: what is being loaded and from where; error messages begin with it.

    Raises:
        DummyForcingError: the file is no LoRA, a LoRA of an unknown kind, or one for another model.
    """
    parts = lora_parts(tensors, shape, what)
    changes_all = _changes_all(parts, shape)
    return LoraFile(name, Merge(parts), changes_all, _whose(name, tensors) if changes_all else None)


def merged_already(family: Family, file: str, metadata: Mapping[str, str], wrapped: bool) -> str | None:
    """The sign that the family's LoRA is already part of a checkpoint, in words; None if there is no sign.

    Args:
        file: the checkpoint's name, with the folders that are shown to people.
        wrapped: whether the file has a LoRA wrapped around its layers.
    """
    if LORA_KEY in metadata:
        return f"its metadata says that {metadata[LORA_KEY]!r} was merged into it"
    if wrapped:
        return "a LoRA is wrapped around its layers"
    pattern = family.lora.merged if family.lora else r"\bmerged?\b"
    if re.search(pattern, words_of(own_name(file))):
        return "its name says that it is merged"
    return None


def check_lora(family: Family, file: str, merged: str | None, lora: LoraFile | None) -> None:
    """Demand that the LoRA that a family needs is applied exactly once, and that no other family's is.

    Args:
        file: the checkpoint's name.
        merged: as `merged_already` returns it.
        lora: the LoRA to apply; which one is a matter of taste, as long as it belongs to no family.

    Raises:
        DummyForcingError: the LoRA is missing, belongs to another family, or is in the checkpoint already.
    """
    needed = family.lora
    if lora is not None and lora.belongs_to not in (None, family.name):
        raise DummyForcingError(
            f"the LoRA {lora.name!r} belongs to {lora.belongs_to} and not to {family.title} ({file!r}); "
            "choose another LoRA or the model that it belongs to"
        )
    if lora is not None and lora.belongs_to == family.name and merged:
        raise DummyForcingError(
            f"{file!r} has the LoRA of {family.title} already ({merged}), and {lora.name!r} would apply it twice; "
            "leave the LoRA out"
        )
    if needed is None or merged:
        return
    if lora is None:
        raise DummyForcingError(
            f"{file!r} is only the base of {family.title} and needs its LoRA: get {needed.file!r} "
            f"({needed.source}) and choose it as LoRA; if the LoRA is in this file "
            "already, let the file name say 'merged'"
        )
    if not lora.changes_all:
        raise DummyForcingError(
            f"{family.title} needs its own LoRA, {needed.file!r} ({needed.source}), and {lora.name!r} is another, "
            f"which leaves some linear layers as they are; choose {needed.file!r} alone, or merge it first with "
            "`dummy-forcing convert --lora` to use other LoRAs on top"
        )


def _changes_all(parts: Mapping[Part, Tensor], shape: WanShape) -> bool:
    modules = {module for module, kind in parts if kind == DOWN}
    return all(f"blocks.{layer}.{part}" in modules for layer in range(shape.layers) for part in _OF_A_BLOCK)


def _whose(name: str, tensors: Mapping[str, Tensor]) -> str | None:
    words = words_of(name)
    named = next((family for family, pattern in _NAMES.items() if re.search(pattern, words)), None)
    return named or ("longlive" if any(key.startswith(_CONTAINER) for key in tensors) else None)
