"""Names of tensors in checkpoints: the wrappers that trainers put around them, and checks of the bare names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from ...errors import DummyForcingError

CONTAINERS = (
    "generator_ema", "model_ema", "ema_model", "ema", "generator", "student", "generator_lora", "state_dict",
    "model", "module", "net", "transformer", "diffusion_model", "dit", "model_state_dict", "ema_state_dict",
    "params", "weights",
)  # fmt: skip
"""Entries under which trainers keep the weights, best first (`files/containers.py` has the whole rule)."""

WRAPPERS = frozenset({*CONTAINERS, "base_model", "pipe", "shadow"})
"""Parts that may precede the names of a model's own tensors."""

# FSDP, torch.compile and activation checkpointing wrap any module, so these occur in the middle of a name too.
_ANYWHERE = frozenset({"_fsdp_wrapped_module", "_orig_mod", "_checkpoint_wrapped_module"})
_ALL_IN_ONE = "model.diffusion_model."
_VAE_KEYS = frozenset({"conv2.weight", "decoder.conv1.weight", "decoder.head.0.gamma"})
_TAE_KEYS = frozenset({"decoder.22.bias"})
_SHOWN = 3

Value = TypeVar("Value")


def bare_name(name: str) -> str:
    """`model.blocks.0._fsdp_wrapped_module.norm3.bias` -> `blocks.0.norm3.bias`; bare names stay."""
    parts = [part for part in name.split(".") if part not in _ANYWHERE]
    start = 0
    while start < len(parts) - 1 and parts[start] in WRAPPERS:
        start += 1
    return ".".join(parts[start:])


def bare_names(state: Mapping[str, Value]) -> dict[str, Value]:
    """Strip wrappers from all names of a state dict (docs/references.md, "Published files").

    Raises:
        DummyForcingError: two names become the same, so the file holds two copies of the model.
    """
    origin: dict[str, str] = {}
    for name in state:
        bare = bare_name(name)
        if bare in origin:
            raise DummyForcingError(
                f"the checkpoint holds both {origin[bare]!r} and {name!r}, two copies of one tensor; "
                "save a file with only one copy of the model"
            )
        origin[bare] = name
    return {bare: state[name] for bare, name in origin.items()}


def backbone_part(state: Mapping[str, Value]) -> Mapping[str, Value]:
    """The backbone's tensors, without the VAE and text encoder of ComfyUI's all-in-one checkpoints."""
    return {name: value for name, value in state.items() if name.startswith(_ALL_IN_ONE)} or state


def check_names(found: Collection[str], expected: Collection[str], what: str) -> None:
    """Demand exactly the expected names.

    Args:
        what: what is being loaded and from where; error messages begin with it.

    Raises:
        DummyForcingError: tensors are missing or unexpected; the message names up to three of each.
    """
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    if not missing and not extra:
        return
    faults = [
        f"{fault} {_some(names)}" for fault, names in (("lacks", missing), ("has unexpected", extra)) if names
    ]
    raise DummyForcingError(
        f"{what} {' and '.join(faults)}; use a complete and unchanged checkpoint of a Wan 2.1 text-to-video model"
    )


def looks_like_vae(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names is a Wan 2.1 VAE."""
    return _VAE_KEYS.issubset(map(bare_name, names))


def looks_like_tae(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names is a TAEHV autoencoder, whatever model its latents are for."""
    return _TAE_KEYS.issubset(map(bare_name, names))


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
