"""What is known of a model, as a tensor beside its weights.

ComfyUI's ModelSave and CheckpointSave (0.27 to 0.33) write the weights of a loaded model but nothing into
the file's header, where `convert` says that a model is causal and of which family. They do write every tensor of
the state dict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

RECORD = "dummy_forcing.metadata"
"""Name of the tensor, and an entry of the metadata of files that have it."""


def record_of(metadata: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensor, uint8 [bytes of JSON], by its name."""
    return {RECORD: torch.tensor(list(json.dumps(dict(metadata)).encode()), dtype=torch.uint8)}


def with_record(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[dict, dict[str, str]]:
    """Tensors without the record and metadata with what it says; a damaged one says nothing."""
    if RECORD not in tensors:
        return dict(tensors), dict(metadata)
    rest = {name: value for name, value in tensors.items() if name != RECORD}
    try:
        said = json.loads(bytes(tensors[RECORD].tolist()))
        said = {name: value for name, value in said.items() if isinstance(value, str)}
    except (ValueError, TypeError, AttributeError, RecursionError):
        said = {}
    return rest, {**metadata, **said, RECORD: "a save node of ComfyUI has written it"}
