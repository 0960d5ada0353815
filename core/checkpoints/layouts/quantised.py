"""Checkpoints that ComfyUI can run quantised: their tensors beside the weights, and their metadata.

Files of ComfyUI (0.27 to 0.33) say in two ways that a layer is quantised, and both are read here: tensors beside
its weight (the older `scaled_fp8` with `scale_weight`, the newer `comfy_quant` with `weight_scale`), and a
`_quantization_metadata` entry that lists layers by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from ...errors import DummyForcingError
from .wrapped_names import bare_name

METADATA = "_quantization_metadata"
_MARK = "scaled_fp8"  # an empty tensor of the older way, which belongs to no single weight
_BESIDE = frozenset({"scale_weight", "scale_input", "weight_scale", "weight_scale_2", "input_scale",
                     "pre_quant_scale", "comfy_quant"})  # fmt: skip


def is_beside_weights(name: str) -> bool:
    """Whether the tensor with this bare name is no weight but says how weights are quantised."""
    return name == _MARK or name.rpartition(".")[2] in _BESIDE


def quantised_weights(names: Iterable[str]) -> frozenset[str]:
    """Names of the weights with tensors beside them that say how they are quantised.

    The type and shape of these weights depend on the quantised format.
    """
    names = frozenset(names)
    weights = (f"{name.rpartition('.')[0]}.weight" for name in names if is_beside_weights(name))
    return names.intersection(weights)


def bare_metadata(metadata: Mapping[str, str], what: str) -> dict[str, str]:
    """The metadata entry that ComfyUI needs for quantised layers, with bare names; empty if there is none.

    Raises:
        DummyForcingError: the entry is not in the form that ComfyUI writes.
    """
    if METADATA not in metadata:
        return {}
    try:
        found = json.loads(metadata[METADATA])
        layers = {bare_name(name): dict(facts) for name, facts in found["layers"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DummyForcingError(
            f"the {METADATA!r} metadata of {what} is damaged ({error}); download the file again"
        ) from error
    return {METADATA: json.dumps({**found, "layers": layers})}
