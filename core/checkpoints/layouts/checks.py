"""Checks of a backbone's tensors (types, shapes), and what is read off them: sizes and the model's identity."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import DummyForcingError
from ...heads.profile import model_fingerprint
from ...wan.shape import WanShape
from ..files.kinds import BACKBONE, kind_of

_SHOWN = 3
_DEFINING = (
    "patch_embedding.weight",
    "blocks.0.ffn.0.weight",
    "text_embedding.0.weight",
    "time_embedding.0.weight",
    "head.head.weight",
)
_PACKED = (torch.int8, torch.uint8, torch.int16, torch.int32)  # types in which quantised weights are stored


def weights_fingerprint(shape: WanShape, weights: Mapping[str, Tensor]) -> str:
    """Identity of a model (`heads.profile.model_fingerprint`) from its sizes and all its modulation vectors.

    Args:
        weights: by their bare names.
    """
    vectors = {name: value for name, value in weights.items() if name.endswith("modulation")}
    return model_fingerprint(shape.to_dict(), vectors)


def backbone_shape(state: Mapping[str, Tensor], metadata: Mapping[str, str], what: str) -> WanShape:
    """Sizes of a backbone from its bare state dict and the "config" metadata of its file.

    Raises:
        DummyForcingError: the tensors that define the sizes are missing or damaged, or the number of heads is
            unknown.
    """
    heads = _heads_in(metadata, what)
    _check_complete(state, what)
    try:
        shape = WanShape.from_state_dict(state, heads)
    except DummyForcingError as error:
        raise DummyForcingError(f"{what} cannot be loaded: {error.message}") from error
    except (ValueError, IndexError) as error:  # tensors with the right names but too few dimensions
        raise DummyForcingError(
            f"{what} has damaged tensors ({error}); use an unchanged Wan 2.1 checkpoint"
        ) from error
    if shape.layers > len(state):  # a stray name such as blocks.99999999 must not make us build as many
        raise DummyForcingError(f"{what} lacks most of its {shape.layers} layers; use a complete checkpoint")
    return shape


def _check_complete(state: Mapping[str, Tensor], what: str) -> None:
    """Demand the tensors that define the sizes; the error says what the file holds instead."""
    missing = [name for name in _DEFINING if name not in state]
    if not missing:
        return
    kind = kind_of(state)
    if kind == BACKBONE:
        raise DummyForcingError(
            f"{what} is only a part of {kind}: it has {len(state)} tensors and lacks {missing[0]!r}; choose the "
            "complete checkpoint, or the folder with all of its shards"
        )
    shown = kind or f"{len(state)} other tensors" + (f", such as {next(iter(state))!r}" if state else "")
    raise DummyForcingError(
        f"{what} is not {BACKBONE} but {shown}; expected a Wan 2.1 text-to-video model with tensors such as "
        "'patch_embedding.weight' and 'blocks.0.self_attn.q.weight'"
    )


def check_values(state: Mapping[str, Tensor], what: str) -> None:
    """Demand floating-point weights; a DummyForcingError names the first tensor of another type."""
    for name, value in state.items():
        if not value.is_floating_point() or not value.numel():
            cause = "use an unchanged Wan 2.1 checkpoint"
            if value.numel() and value.dtype in _PACKED:
                cause = "use a checkpoint that is not quantised, or one in ComfyUI's own format"
            raise DummyForcingError(
                f"{what}: {name!r} is {value.dtype} {list(value.shape)}, expected floating-point weights; {cause}"
            )


def check_shapes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Demand the shapes of the expected tensors; a DummyForcingError names up to three that differ."""
    wrong = [
        f"{name!r} is {list(state[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if state[name].shape != value.shape
    ]
    if wrong:
        raise DummyForcingError(
            f"{what} has {len(wrong)} tensors of the wrong shape: {', '.join(wrong[:_SHOWN])}; "
            "use an unchanged Wan 2.1 checkpoint"
        )


def _heads_in(metadata: Mapping[str, str], what: str) -> int | None:
    """Number of heads in the "config" metadata, under "transformer" as in ComfyUI or flat; None if absent."""
    if "config" not in metadata:
        return None
    try:
        config = json.loads(metadata["config"])
        heads = {**config, **config.get("transformer", {})}.get("num_heads")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DummyForcingError(
            f"the 'config' metadata of {what} is not a JSON object ({error}); correct or remove the metadata"
        ) from error
    if heads is not None and type(heads) is not int:
        raise DummyForcingError(
            f"the 'config' metadata of {what} says num_heads is {heads!r}; expected a whole number; correct "
            "num_heads"
        )
    return heads
