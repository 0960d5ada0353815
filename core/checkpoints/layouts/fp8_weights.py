"""Weights in FP8 as ComfyUI reads and runs them: e4m3 with one scale per tensor, listed in the metadata.

ComfyUI's layers (0.27 to 0.33) do not support one scale per output channel, which `wan.fp8_linear` uses. e4m3 is a
floating-point type, so a common scale costs next to nothing unless the magnitudes of channels differ by factors of
thousands (docs/fp8.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from torch import Tensor

from ....kernels.fp8 import quantise_rows
from ...errors import DummyForcingError
from ...wan.container import CausalWan
from ...wan.fp8_linear import SCALE, fp8_weights, use_fp8_linears
from ...wan.shape import WanShape
from ..lora.lora_merge import merge_all
from .normal import NormalBackbone
from .quantised import METADATA

_FORMAT = "float8_e4m3fn"  # ComfyUI's name, QUANT_ALGOS in comfy/quant_ops.py


def fp8_names(shape: WanShape) -> frozenset[str]:
    """Names of the weights that can be in FP8: the linear layers of the blocks.

    Raises:
        DummyForcingError: no linear layer has a size that fits FP8.
    """
    with torch.device("meta"):
        return fp8_weights(use_fp8_linears(CausalWan(shape)))


def quantise_tensor(name: str, weight: Tensor) -> dict[str, Tensor]:
    """The weight in e4m3 and its scale, an fp32 scalar, under the names they have in ComfyUI's files.

    Raises:
        DummyForcingError: the weight has NaN or infinite numbers.
    """
    values, scale = quantise_rows(weight.flatten())
    if not scale.isfinite().all():
        raise DummyForcingError(f"the weight {name!r} has NaN or infinite numbers; download the checkpoint again")
    return {name: values.view_as(weight), name + SCALE: scale.squeeze()}


def fp8_metadata(names: Iterable[str]) -> dict[str, str]:
    """The metadata entry by which ComfyUI recognises quantised layers."""
    layers = {name.removesuffix(".weight"): {"format": _FORMAT} for name in sorted(names)}
    return {METADATA: json.dumps({"format_version": "1.0", "layers": layers})}


def with_fp8_weights(normal: NormalBackbone, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State and metadata for ComfyUI's loader: the blocks' linear layers in FP8, a LoRA within the file merged.

    Weights are converted one after the other, so that there is never a second copy of the model in memory.

    Raises:
        DummyForcingError: weights are quantised already, have NaN or infinite numbers, or sizes that do not fit.
    """
    if normal.quantised:
        raise DummyForcingError(
            f"{what} is quantised already ({min(normal.quantised)!r} and others); load the file with "
            "weight_dtype default"
        )
    names = fp8_names(normal.shape)
    state: dict[str, Tensor] = {}
    merges = normal.merges()
    for name, value in normal.state.items():
        merged = merge_all(merges, name, value)
        state |= quantise_tensor(name, merged) if name in names else {name: merged}
    return state, normal.metadata | fp8_metadata(names)
