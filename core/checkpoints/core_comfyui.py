"""What ComfyUI's own loader makes of a file, without this pack (docs/references.md, "ComfyUI's loader").

Follows what its model detection looks at (ComfyUI 0.27 to 0.33): the ending of the name, the containers of a .pt
file, the prefix of the names, and the "config" entry of safetensors metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from .files.checkpoint_files import SUFFIX
from .files.pickles import containers, is_pickle
from .files.record import RECORD

_SAFETENSORS = frozenset({SUFFIX, ".sft"})
_PREFIXES = ("model.diffusion_model.", "model.model.", "net.")
_OTHERWISE = "model."
_FEW = 5  # a prefix that only so many names share is not taken for the model's
_SIGN = "head.modulation"
_PATCHES = "patch_embedding.weight"
_OF_A_CONVOLUTION = 5  # dimensions
_STATE_DICT = "state_dict"

CAUSAL, BIDIRECTIONAL, NOTHING = "a causal model", "an ordinary bidirectional model", "no model that it knows"


def loaded_as(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shards: int = 1) -> str:
    """What ComfyUI loads the file as: CAUSAL, BIDIRECTIONAL or NOTHING.

    The file must hold a complete Wan 2.1 text-to-video backbone.

    Args:
        path: of the file, or of the folder of its shards.
        tensors, metadata: as `checkpoint_files.read_checkpoint` returns them.
        shards: number of files.
    """
    if shards > 1 or path.is_dir():
        return NOTHING
    pickled = is_pickle(path)
    if pickled == (path.suffix.lower() in _SAFETENSORS):  # ComfyUI goes by the name and reads the wrong format
        return NOTHING
    if pickled:
        tensors, metadata = _in_pickle(path, tensors), {}
    prefix = max(_PREFIXES, key=lambda each: sum(name.startswith(each) for name in tensors))
    if sum(name.startswith(prefix) for name in tensors) <= _FEW:
        prefix = _OTHERWISE
    bare = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)} or tensors
    if _SIGN not in bare or _PATCHES not in bare or bare[_PATCHES].ndim != _OF_A_CONVOLUTION:
        return NOTHING
    return CAUSAL if _says_causal(metadata) else BIDIRECTIONAL


def _in_pickle(path: Path, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors by the names that ComfyUI gives them: it unwraps "state_dict", or the only container of a file."""
    outer = containers(path)
    inner = _STATE_DICT if _STATE_DICT in outer else outer[0] if len(outer) == 1 else ""
    if not inner:
        return {name: each for name, each in tensors.items() if name in outer}
    return {name.removeprefix(f"{inner}."): each for name, each in tensors.items()}


def _says_causal(metadata: Mapping[str, str]) -> bool:
    if RECORD in metadata:  # the metadata is from the record, which ComfyUI, at 0.33, does not read
        return False
    try:
        return json.loads(metadata["config"])["transformer"]["causal_ar"] is True
    except (KeyError, ValueError, TypeError, RecursionError):
        return False
