"""Writing a checkpoint of any layout as one that ComfyUI itself loads as a causal model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..wan.fp8_linear import SCALE
from .families.detect_family import FAMILY_KEY
from .files.mapped import let_go
from .files.write import Entry, write_tensors
from .layouts.fp8_weights import fp8_metadata, fp8_names, quantise_tensor
from .lora.lora_merge import merge_all
from .lora.lora_rules import LORA_KEY
from .opened import OpenedBackbone


def convert(opened: OpenedBackbone, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write a backbone under its bare names, with LoRAs merged and its family in the metadata.

    Tensors are written one after the other, so that memory does not grow with the model.

    Args:
        opened: the backbone and the LoRA to merge; its state is empty afterwards.
        path: a .safetensors file.
        dtype: of all weights; None keeps their types. float8_e4m3fn applies only to the blocks' linear layers,
            with scales as ComfyUI reads them; all other weights keep their types.

    Raises:
        DummyForcingError: quantised weights would have to change, sizes do not fit FP8, numbers for FP8 are NaN or
            infinite, or the file cannot be written.
    """
    normal = opened.normal
    merges = normal.merges(() if opened.lora is None else (opened.lora.merge,))
    if dtype is not None and normal.quantised:
        raise DummyForcingError(
            f"{opened.what} has quantised weights, such as {min(normal.quantised)!r}, which cannot be cast; "
            "leave --dtype out to keep them"
        )
    quantised = fp8_names(normal.shape) if dtype == torch.float8_e4m3fn else frozenset()
    cast = None if quantised else dtype
    scales = {name + SCALE: name for name in quantised}

    def make(name: str) -> Tensor:
        weight = scales.get(name, name)
        value = normal.state[weight] if name in scales else normal.state.pop(name)
        made = merge_all(merges, weight, value)
        if weight in quantised:
            made = quantise_tensor(weight, made)[name]
        elif cast is not None:
            made = made.to(cast)
        if made is not value:
            let_go(value)
        return made

    entries: dict[str, Entry] = {
        name: (torch.float8_e4m3fn if name in quantised else cast or value.dtype, value.shape)
        for name, value in normal.state.items()
    }
    entries |= {name: (torch.float32, torch.Size()) for name in scales}
    write_tensors(path, entries, make, what_it_is(opened) | (fp8_metadata(quantised) if quantised else {}))


def what_it_is(opened: OpenedBackbone) -> dict[str, str]:
    """Metadata by which ComfyUI and this package recognise the model: causal, its sizes, its family, its LoRA."""
    metadata = {"format": "pt", **opened.normal.metadata, FAMILY_KEY: opened.detected.family.name}
    if opened.lora is not None:
        metadata[LORA_KEY] = opened.lora.name
    elif opened.merged is not None:
        metadata[LORA_KEY] = opened.source_metadata.get(LORA_KEY, opened.file)
    return metadata
