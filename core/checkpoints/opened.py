"""A checkpoint read and judged before its weights are loaded: what it is, how it is run, which LoRA it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .families.detect_family import Detected, choose_family
from .families.table import AUTO
from .files.checkpoint_files import read_checkpoint, read_tensors
from .layouts.normal import NormalBackbone, normalise
from .lora.lora_rules import LoraFile, check_lora, merged_already, read_lora

_FOLDERS_SHOWN = 3  # of a path, those nearest to the file: they often say what the file's own name does not


@dataclass(frozen=True, eq=False)
class OpenedBackbone:
    """A backbone whose file is read and judged.

    Attributes:
        what: "the backbone <path>", the beginning of messages.
        file: the path as far as it tells something.
        normal: the backbone.
        detected: its family and why.
        names: of the tensors as they are in the file.
        source_metadata: of the file.
        merged: how it can be told that the family's LoRA is part of it; None if nothing says so.
        lora: the one that is to be applied, checked.
    """

    what: str
    file: str
    normal: NormalBackbone
    detected: Detected
    names: tuple[str, ...]
    source_metadata: Mapping[str, str]
    merged: str | None
    lora: LoraFile | None


def open_backbone(path: Path, family: str = AUTO, lora: Path | None = None) -> OpenedBackbone:
    """Read a backbone and, if one is given, its LoRA; tells the family and demands the right LoRA.

    Args:
        path: as for `files.checkpoint_files`.
        family: name of a family, or "auto" for what the checkpoint tells.

    Raises:
        DummyForcingError: unreadable, no complete Wan 2.1 text-to-video model, of no family that can be told, or
            with a LoRA missing, wrong or doubled.
    """
    what, file = f"the backbone {path}", shown_name(path)
    tensors, metadata = read_checkpoint(path)
    normal = normalise(tensors, metadata, what)
    weights = None if lora is None else read_tensors(lora)[0]
    return judge(what, file, (tensors, metadata), normal, family, None if lora is None else (lora.name, weights))


def shown_name(path: Path) -> str:
    """A path as far as it tells something: the file and the folders nearest to it."""
    return Path(*path.parts[-1 - _FOLDERS_SHOWN :]).as_posix()


def judge(
    what: str,
    file: str,
    contents: tuple[Mapping[str, Tensor], Mapping[str, str]],
    normal: NormalBackbone,
    family: str,
    lora: tuple[str, Mapping[str, Tensor]] | None,
) -> OpenedBackbone:
    """What is known of a backbone whose files somebody has read; raises as `open_backbone`.

    Args:
        contents: tensors and metadata of the file as they are in it.
        lora: name and tensors of the file with the LoRA.
    """
    tensors, metadata = contents
    detected = choose_family(family, file, tensors, normal.shape, metadata)
    merged = merged_already(detected.family, file, metadata, wrapped=normal.wrapped is not None)
    found = None if lora is None else read_lora(lora[1], normal.shape, lora[0], f"the LoRA {lora[0]!r}")
    check_lora(detected.family, file, merged, found)
    return OpenedBackbone(what, file, normal, detected, tuple(tensors), metadata, merged, found)
