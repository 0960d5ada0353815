"""Writing a checkpoint of any layout as one that ComfyUI itself loads as a causal model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .detect import FAMILY_KEY
from .lora_rules import LORA_KEY
from .mapped import let_go
from .merge import merge_all
from .opened import OpenedBackbone
from .write import Entry, write_tensors


def convert(opened: OpenedBackbone, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write a backbone under its bare names, with LoRAs merged and its family in the metadata.

    One tensor after the other, so that memory does not grow with the model.

    Args:
        opened: the backbone and the LoRA to merge; its state is empty afterwards.
        path: a .safetensors file.
        dtype: of all weights; None keeps their types.

    Raises:
        DummyForcingError: quantised weights that would have to change, or the file cannot be written.
    """
    normal = opened.normal
    merges = normal.merges(() if opened.lora is None else (opened.lora.merge,))
    if dtype is not None and normal.quantised:
        raise DummyForcingError(
            f"{opened.what} has quantised weights, such as {min(normal.quantised)!r}, which cannot be cast; "
            "leave --dtype out to keep them"
        )

    def make(name: str) -> Tensor:
        value = normal.state.pop(name)
        made = merge_all(merges, name, value)
        if dtype is not None:
            made = made.to(dtype)
        if made is not value:
            let_go(value)
        return made

    entries: dict[str, Entry] = {
        name: (value.dtype if dtype is None else dtype, value.shape) for name, value in normal.state.items()
    }
    write_tensors(path, entries, make, _metadata(opened))


def _metadata(opened: OpenedBackbone) -> dict[str, str]:
    metadata = {"format": "pt", **opened.normal.metadata, FAMILY_KEY: opened.detected.family.name}
    if opened.lora is not None:
        metadata[LORA_KEY] = opened.lora.name
    elif opened.merged is not None:
        metadata[LORA_KEY] = opened.source_metadata.get(LORA_KEY, opened.file)
    return metadata
