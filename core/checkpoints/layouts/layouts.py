"""Layouts in which Wan backbones are published. All are brought into one: Wan's own bare names.

A layout can differ from it in wrappers and containers (`wrapped_names`) and in three more ways: diffusers' names,
LoRAs that PEFT wrapped around the layers they change, and NVIDIA's patch embedding, which is a linear layer
(docs/references.md, "Published files").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...errors import DummyForcingError
from ...wan.shape import PATCH
from ..files.kinds import kind_of
from ..lora.lora_names import other_adapter, part_of
from .diffusers_names import is_of_diffusers, renamed_from_diffusers
from .wrapped_names import backbone_part, bare_names

_BASE = ".base_layer."
_COUNTERS = re.compile(r"^accum_")  # counters of samples and hours that NVIDIA's trainer saves beside the weights
# Patterns of bare names -> what these tensors are, for people.
_LEFT_OUT = {
    r"(?:^|\.)(?:freqs(?:_\w+)?|inv_freq)$|^(?:rope|rotary_emb|pos_embed)\.": (
        "position tables, which every Wan computes itself,"
    ),
    r"\.comfy_attention\.": "choices of attention per layer, which ComfyUI 0.38 writes and nothing here uses,",
}
_PATCH_EMBEDDING = "patch_embedding.weight"
_OUTERMOST = (
    r"(?:^|\.)(?:blocks|patch_embedding|text_embedding|time_embedding|time_projection|head|condition_embedder)\."
)


@dataclass(frozen=True, eq=False)
class Layout:
    """A backbone whose tensors have Wan's names.

    Attributes:
        state: the tensors; those that were memory-mapped still are.
        lora: parts of a LoRA that is wrapped around the layers and has to be merged, by bare names; usually empty.
        notes: what had to be adapted, for people.
    """

    state: dict[str, Tensor]
    lora: dict[str, Tensor]
    notes: tuple[str, ...]


def backbone_layout(tensors: Mapping[str, Tensor], what: str) -> Layout:
    """Find the backbone in the tensors of a checkpoint and name it as Wan does.

    Args:
        tensors: as read from the file.
        what: what is being loaded and from where; error messages begin with it.

    Raises:
        DummyForcingError: the file holds two copies of the model, or only a LoRA.
    """
    notes = _wrappers(next(iter(tensors), ""))
    state = bare_names(backbone_part(tensors))
    state = {name: value for name, value in state.items() if not _COUNTERS.search(name)}
    for pattern, note in _LEFT_OUT.items():
        names = [name for name in state if re.search(pattern, name)]
        if names:
            notes.append(f"its {note} are left out ({names[0]!r})")
            state = {name: value for name, value in state.items() if name not in names}
    state, lora = _without_peft(state, what)
    if lora:
        notes.append("a LoRA is wrapped around its layers (PEFT) and is merged when the model is loaded")
    if is_of_diffusers(state):
        notes.append("its tensors are named as in diffusers")
        state, lora = renamed_from_diffusers(state), renamed_from_diffusers(lora)
    patches = state.get(_PATCH_EMBEDDING)
    if patches is not None and patches.ndim == 2 and patches.shape[1] % PATCH**2 == 0:
        notes.append("its patch embedding is a linear layer")
        state[_PATCH_EMBEDDING] = patches.reshape(patches.shape[0], -1, 1, PATCH, PATCH)
    return Layout(state, lora, tuple(notes))


def _wrappers(name: str) -> list[str]:
    """A note for people if something stands before the module's own name, such as `generator_ema.model`."""
    before = re.split(_OUTERMOST, name, maxsplit=1)
    return [f"its tensors are wrapped in {before[0]!r}"] if len(before) > 1 and before[0] else []


def _without_peft(state: Mapping[str, Tensor], what: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and LoRA parts of a backbone in which PEFT put `lora_A` and `lora_B` beside each `base_layer`."""
    lora = {name: value for name, value in state.items() if part_of(name)}
    other = other_adapter(state)
    if other is not None or (lora and len(lora) == len(state)):
        raise DummyForcingError(
            f"{what} is {kind_of(state)} and not a model; load the model and choose this file as its LoRA"
        )
    if not any(_BASE in name for name in state):
        return dict(state), {}
    return {name.replace(_BASE, "."): value for name, value in state.items() if name not in lora}, lora
