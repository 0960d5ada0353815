"""Any file of a Wan backbone as a checked state dict, and the metadata from which ComfyUI builds its causal model.

ComfyUI (0.27 to 0.33) recognises a causal model only by the metadata of a safetensors file. There a Self-Forcing
checkpoint as its authors publish it (.pt, no metadata) loads as an ordinary bidirectional Wan
(docs/references.md, "ComfyUI's loader").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import DummyForcingError
from ...wan.container import CausalWan
from ...wan.shape import WanShape
from ..files.pickles import CHOICE_KEY
from ..lora.lora_file import lora_parts
from ..lora.lora_merge import Merge, check_mergeable, merge_all
from .checks import backbone_shape, check_shapes, check_values, weights_fingerprint
from .foreign import refuse_foreign_parts
from .layouts import backbone_layout
from .quantised import bare_metadata, is_beside_weights, quantised_weights
from .wrapped_names import check_names

_LATENT_CHANNELS = 16


@dataclass(frozen=True, eq=False)
class NormalBackbone:
    """A checked backbone.

    Attributes:
        state: the file's own tensors by bare Wan names; those that were memory-mapped still are.
        metadata: what ComfyUI's loader must know: that the model is causal, its sizes, its quantised layers.
        shape: sizes.
        fingerprint: identity of the weights (`checks.weights_fingerprint`); LoRAs do not change it.
        quantised: names of the weights that are stored in a quantised format.
        wrapped: a LoRA that is wrapped around the layers in the file and still has to be merged.
        notes: what had to be adapted, for people.
    """

    state: dict[str, Tensor]
    metadata: dict[str, str]
    shape: WanShape
    fingerprint: str
    quantised: frozenset[str]
    wrapped: Merge | None
    notes: tuple[str, ...]

    def merges(self, loras: Sequence[Merge] = ()) -> tuple[Merge, ...]:
        """All LoRAs to merge: the wrapped one and then the given ones.

        Raises:
            DummyForcingError: a LoRA changes quantised weights.
        """
        merges = (*(() if self.wrapped is None else (self.wrapped,)), *loras)
        for each in merges:
            check_mergeable(each, self.quantised, "the checkpoint")
        return merges

    def merged_state(self) -> dict[str, Tensor]:
        """The state with the wrapped LoRA merged; without one, the state itself."""
        if self.wrapped is None:
            return self.state
        merges = self.merges()
        return {name: merge_all(merges, name, value) for name, value in self.state.items()}


def normalise(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], what: str) -> NormalBackbone:
    """Bring a checkpoint of any layout to bare Wan names; it must be a complete Wan 2.1 text-to-video model.

    Args:
        tensors, metadata: as read from the file; the weights may be quantised.
        what: what is being loaded and from where; error messages begin with it.

    Raises:
        DummyForcingError: another kind of model, or an incomplete or damaged one.
    """
    layout = backbone_layout(tensors, what)
    state = layout.state
    refuse_foreign_parts(state, what)
    quantised = quantised_weights(state)
    plain = {name: value for name, value in state.items() if name not in quantised and not is_beside_weights(name)}
    check_values(plain, what)
    shape = backbone_shape(state, metadata, what)
    _check_channels(shape, what)
    with torch.device("meta"):
        expected = CausalWan(shape).state_dict()
    check_names([name for name in state if not is_beside_weights(name)], expected, what)
    check_shapes(plain, {name: value for name, value in expected.items() if name in plain}, what)
    return NormalBackbone(
        state=state,
        metadata=causal_config(shape) | bare_metadata(metadata, what),
        shape=shape,
        fingerprint=weights_fingerprint(shape, plain),
        quantised=quantised,
        wrapped=Merge(lora_parts(layout.lora, shape, f"the LoRA within {what}")) if layout.lora else None,
        notes=(*layout.notes, *([metadata[CHOICE_KEY]] if CHOICE_KEY in metadata else [])),
    )


def _check_channels(shape: WanShape, what: str) -> None:
    channels = (shape.in_channels, shape.out_channels)
    if channels != (_LATENT_CHANNELS, _LATENT_CHANNELS):
        raise DummyForcingError(
            f"{what} reads {channels[0]} latent channels and writes {channels[1]}; expected a Wan 2.1 "
            f"text-to-video model with {_LATENT_CHANNELS} of both; image-to-video, control and Wan 2.2 5B models "
            "cannot be run here"
        )


def causal_config(shape: WanShape) -> dict[str, str]:
    """The metadata by which ComfyUI builds a causal model.

    ComfyUI reads all other sizes off the tensors. Without this entry it would take the sizes given
    here to be those of the released models.
    """
    sizes = {"num_heads": shape.heads, "text_dim": shape.text_dim, "freq_dim": shape.freq_dim}
    return {"config": json.dumps({"transformer": {"causal_ar": True, **sizes}})}
