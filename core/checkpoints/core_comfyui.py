"""What ComfyUI's own loader makes of a file, without this pack (MODELS.md, 0.4 and C2).

Follows what its model detection looks at: the ending of the name, the containers of a .pt file, the prefix of the
names, and the "config" entry of safetensors metadata.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from .files import SUFFIX
from .pickles import containers

_SAFETENSORS = frozenset({SUFFIX, ".sft"})
_PREFIXES = ("model.diffusion_model.", "model.model.", "net.")
_OTHERWISE = "model."
_FEW = 5  # fewer names with a prefix do not make it the model's
_SIGN = "head.modulation"
_STATE_DICT = "state_dict"

CAUSAL, BIDIRECTIONAL, NOTHING = "a causal model", "an ordinary bidirectional model", "no model that it knows"


def loaded_as(path: Path, names: Collection[str], metadata: Mapping[str, str], shards: int = 1) -> str:
    """One of CAUSAL, BIDIRECTIONAL and NOTHING, for a file that holds a complete Wan 2.1 text-to-video backbone.

    Args:
        path: of the file, or of the folder of its shards.
        names: of the tensors as `files.read_checkpoint` gives them.
        metadata: of the file.
        shards: number of files.
    """
    if shards > 1 or path.is_dir():
        return NOTHING
    if path.suffix.lower() not in _SAFETENSORS:
        names, metadata = _in_pickle(path, names), {}
    prefix = max(_PREFIXES, key=lambda each: sum(name.startswith(each) for name in names))
    if sum(name.startswith(prefix) for name in names) <= _FEW:
        prefix = _OTHERWISE
    bare = {name.removeprefix(prefix) for name in names if name.startswith(prefix)} or set(names)
    if _SIGN not in bare:
        return NOTHING
    return CAUSAL if _says_causal(metadata) else BIDIRECTIONAL


def _in_pickle(path: Path, names: Collection[str]) -> Collection[str]:
    """Names as ComfyUI has them, which unwraps "state_dict" or a container that is alone."""
    outer = containers(path)
    inner = _STATE_DICT if _STATE_DICT in outer else outer[0] if len(outer) == 1 else ""
    return [name.removeprefix(f"{inner}.") for name in names] if inner else names


def _says_causal(metadata: Mapping[str, str]) -> bool:
    try:
        return json.loads(metadata["config"])["transformer"]["causal_ar"] is True
    except (KeyError, ValueError, TypeError, RecursionError):
        return False
