"""A record: a model's metadata as a tensor beside its weights.

ComfyUI's ModelSave and CheckpointSave (0.27 to 0.33) write every tensor of a loaded model's state dict, but not the
metadata in which `convert` says that the model is causal and of which family it is. A tensor survives them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

RECORD = "dummy_forcing.metadata"
"""Name of the tensor; also the name of a metadata entry that `with_record` adds for files that have it."""


def record_of(metadata: Mapping[str, str]) -> dict[str, Tensor]:
    """The metadata as one tensor, uint8 [bytes of JSON], by its name."""
    return {RECORD: torch.tensor(list(json.dumps(dict(metadata)).encode()), dtype=torch.uint8)}


def with_record(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[dict, dict[str, str]]:
    """The tensors without the record, and the metadata with its entries; a damaged record has none."""
    if RECORD not in tensors:
        return dict(tensors), dict(metadata)
    rest = {name: value for name, value in tensors.items() if name != RECORD}
    try:
        said = json.loads(bytes(tensors[RECORD].tolist()))
        said = {name: value for name, value in said.items() if isinstance(value, str)}
    except (ValueError, TypeError, AttributeError, RecursionError):
        said = {}
    return rest, {**metadata, **said, RECORD: "a save node of ComfyUI has written it"}
