"""Which LoRA goes with which checkpoint: a missing, wrong or doubled one gives a video that is only subtly bad.

LongLive's base is the beginning of its training and not the model: without its LoRA it drifts (docs/references.md,
"LongLive's LoRA").
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

# The LoRAs that are part of a family, by the words of their file names. MemFlow is none of ours.
_NAMES = {"memflow": r"mem ?flow", "longlive": r"long ?live", "raven": r"\braven\b|\bcm ?grpo\b"}


@dataclass(frozen=True, eq=False)
class LoraFile:
    """A LoRA that fits the model's sizes.

    Attributes:
        name: of the file, as people see it.
        merge: adds it to weights.
        changes_all: whether it changes every linear layer of every block, as those that belong to a family do.
        belongs_to: name of the family that it is part of; None for any other LoRA.
    """

    name: str
    merge: Merge
    changes_all: bool
    belongs_to: str | None


def read_lora(tensors: Mapping[str, Tensor], shape: WanShape, name: str, what: str) -> LoraFile:
    """Check a LoRA against the model's sizes and tell whose it is.

    Args:
        tensors: as read from the file.
        name: of the file, with the folders that the person sees.
        what: what is being loaded and from where, the beginning of messages.

    Raises:
        DummyForcingError: not a LoRA, of an unknown kind, or of another model.
    """
    parts = lora_parts(tensors, shape, what)
    changes_all = _changes_all(parts, shape)
    return LoraFile(name, Merge(parts), changes_all, _whose(name, tensors) if changes_all else None)


def merged_already(family: Family, file: str, metadata: Mapping[str, str], wrapped: bool) -> str | None:
    """How it can be told that the family's LoRA is part of a checkpoint, or None if nothing says so.

    Args:
        file: name, with the folders that the person sees.
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
    """Demand the LoRA that a family needs, once, and no other family's.

    Args:
        file: the checkpoint.
        merged: see `merged_already`.
        lora: the one to be applied; one that belongs to no family is a matter of taste and may be any.

    Raises:
        DummyForcingError: the LoRA is missing, another family's, or applied to a checkpoint that has it.
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
            f"which leaves some linear layers as they are; choose {needed.file!r} alone, or merged first "
            "with `dummy-forcing convert --lora` to use others on top"
        )


def _changes_all(parts: Mapping[Part, Tensor], shape: WanShape) -> bool:
    modules = {module for module, kind in parts if kind == DOWN}
    return all(f"blocks.{layer}.{part}" in modules for layer in range(shape.layers) for part in _OF_A_BLOCK)


def _whose(name: str, tensors: Mapping[str, Tensor]) -> str | None:
    words = words_of(name)
    named = next((family for family, pattern in _NAMES.items() if re.search(pattern, words)), None)
    return named or ("longlive" if any(key.startswith(_CONTAINER) for key in tensors) else None)
