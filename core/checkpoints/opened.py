"""What is found out about a checkpoint before its weights are loaded: model, family and LoRA."""

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

_FOLDERS_SHOWN = 3  # the folders nearest to the file: they often say what its own name does not


@dataclass(frozen=True, eq=False)
class OpenedBackbone:
    """A backbone whose file has been read and checked, with its family and LoRA.

    Attributes:
        what: "the backbone <path>"; error messages begin with it.
        file: the end of the path, as `shown_name` returns it.
        normal: the backbone.
        detected: its family and why.
        names: of the tensors, as they stand in the file.
        source_metadata: the file's own metadata.
        merged: the sign that the family's LoRA is already part of the file; None if there is no sign.
        lora: the LoRA to apply, already checked.
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
    """Read a backbone and its LoRA, if one is given; recognise the family and check that the LoRA is the right one.

    Args:
        path: as for `checkpoint_files`.
        family: name of a family, or "auto" to recognise it from the checkpoint.

    Raises:
        DummyForcingError: the file is unreadable or no complete Wan 2.1 text-to-video model, its family cannot be
            recognised, or the LoRA is missing, wrong or doubled.
    """
    what, file = f"the backbone {path}", shown_name(path)
    tensors, metadata = read_checkpoint(path)
    normal = normalise(tensors, metadata, what)
    weights = None if lora is None else read_tensors(lora)[0]
    return judge(what, file, (tensors, metadata), normal, family, None if lora is None else (lora.name, weights))


def shown_name(path: Path) -> str:
    """The end of a path that may say what the model is: the file's name and the folders nearest to it."""
    return Path(*path.parts[-1 - _FOLDERS_SHOWN :]).as_posix()


def judge(
    what: str,
    file: str,
    contents: tuple[Mapping[str, Tensor], Mapping[str, str]],
    normal: NormalBackbone,
    family: str,
    lora: tuple[str, Mapping[str, Tensor]] | None,
) -> OpenedBackbone:
    """As `open_backbone`, for files that the caller has already read.

    Args:
        what, file: as in `OpenedBackbone`.
        contents: tensors and metadata, as they stand in the file.
        lora: name and tensors of the LoRA's file.
    """
    tensors, metadata = contents
    detected = choose_family(family, file, tensors, normal.shape, metadata)
    merged = merged_already(detected.family, file, metadata, wrapped=normal.wrapped is not None)
    found = None if lora is None else read_lora(lora[1], normal.shape, lora[0], f"the LoRA {lora[0]!r}")
    check_lora(detected.family, file, merged, found)
    return OpenedBackbone(what, file, normal, detected, tuple(tensors), metadata, merged, found)
