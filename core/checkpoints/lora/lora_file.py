"""LoRAs of Wan backbones: checked against the model's sizes and named as ComfyUI's own loader reads them.

ComfyUI (0.27) skips whatever it cannot place; only a line in its log says so. A LoRA that a model needs would
silently do nothing, as LongLive's would (docs/references.md, "LongLive's LoRA"). Here everything must fit.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Size, Tensor

from ...errors import DummyForcingError
from ...wan.container import CausalWan
from ...wan.shape import WanShape
from ..files.kinds import kind_of
from ..layouts.wrapped_names import bare_names
from .lora_names import (
    DOWN,
    UP,
    Part,
    fits_somewhere,
    is_refused,
    model_elsewhere,
    module_names,
    other_adapter,
    part_of,
    without_prefix,
)

_PREFIX = "diffusion_model."
_ANYWAY = "to use the part that fits, apply it with ComfyUI's own Load LoRA node instead"


def comfy_lora(parts: Mapping[Part, Tensor]) -> dict[str, Tensor]:
    """Name the parts as ComfyUI reads them: `diffusion_model.<module>.lora_A.weight` and `.lora_B.weight`."""
    return {f"{_PREFIX}{module}.{kind}": value for (module, kind), value in parts.items()}


def lora_parts(tensors: Mapping[str, Tensor], shape: WanShape, what: str) -> dict[Part, Tensor]:
    """Sort the tensors of a LoRA by the module that they change and the part that they are.

    Reads plain LoRAs under all names that `lora_names` knows, with `alpha`, and full differences `diff`, `diff_b`.

    Args:
        shape: of the model that the LoRA is for.
        what: what is being loaded and from where; error messages begin with it.

    Raises:
        DummyForcingError: the file is no LoRA, a LoRA of a kind that is not read here, or one for another model.
    """
    state = bare_names(tensors)
    sizes = _sizes(shape)
    modules = module_names(map(_module_of, sizes))
    other = other_adapter(tensors)
    changed = [name for name in state if part_of(name) or other_adapter([name])]
    if changed and not fits_somewhere(changed, modules):  # ComfyUI's own node would skip all of it too
        raise DummyForcingError(
            f"{what} is a LoRA for {model_elsewhere(tensors)}: nothing in it belongs to this model (it has "
            f"{min(changed)!r}); choose a LoRA for this model"
        )
    if other is not None:
        raise DummyForcingError(f"{what} {is_refused(*other, modules)}")
    if not any(map(part_of, state)):
        kind = kind_of(state)
        raise DummyForcingError(
            f"{what} is not a LoRA{f' but {kind}' if kind else ''}; expected tensors such as "
            "'blocks.0.self_attn.q.lora_A.weight'; choose a LoRA"
        )
    parts: dict[Part, Tensor] = {}
    for name, value in state.items():
        part = _part(name, modules, what)
        if part in parts:
            raise DummyForcingError(
                f"{what} changes {part[0]!r} twice, under two names; save the LoRA with one of the names"
            )
        parts[part] = value
    for part, value in parts.items():
        _check(part, value, parts, sizes, what)
    return parts


def _sizes(shape: WanShape) -> dict[str, Size]:
    with torch.device("meta"):
        return {name: value.shape for name, value in CausalWan(shape).state_dict().items()}


def _module_of(parameter: str) -> str:
    return parameter.removesuffix(".weight").removesuffix(".bias")


def _part(name: str, modules: Mapping[str, str], what: str) -> Part:
    found = part_of(name)
    if found is None:
        raise DummyForcingError(f"{what} is of a kind that is not known here (it has {name!r}); {_ANYWAY}")
    module, kind = found
    return modules.get(without_prefix(module), module), kind


def _check(part: Part, value: Tensor, parts: Mapping[Part, Tensor], sizes: Mapping[str, Size], what: str) -> None:
    module, kind = part
    targets = [f"{module}.bias"] if kind == "diff_b" else [f"{module}.weight", module]
    size = next((sizes[name] for name in targets if name in sizes), None)
    if size is None:
        raise DummyForcingError(
            f"{what} does not belong to this model, which has no module {module!r}; choose its own LoRA; {_ANYWAY}"
        )
    if not value.is_floating_point() and kind != "alpha":
        raise DummyForcingError(f"{what}: {kind} of {module!r} is {value.dtype}; use a LoRA that is not quantised")
    if kind in (DOWN, UP) and not {(module, DOWN), (module, UP)} <= parts.keys():
        raise DummyForcingError(f"{what} is incomplete: {module!r} has only {kind}; download the file again")
    if not _fits(part, parts, size):
        raise DummyForcingError(
            f"{what} does not fit this model: {kind} of {module!r} is {list(value.shape)}, the weight there "
            f"{list(size)}; choose the LoRA of this very model"
        )


def _fits(part: Part, parts: Mapping[Part, Tensor], size: Size) -> bool:
    """Whether a part fits a weight of this size: A [rank, in] and B [out, rank] fit [out, in].

    Weights of convolutions are flattened for this.
    """
    module, kind = part
    if kind == "alpha":
        return parts[part].numel() == 1
    if kind not in (DOWN, UP):
        return parts[part].shape == size
    down, up = parts[module, DOWN].shape, parts[module, UP].shape
    if min(len(down), len(up), len(size)) < 2 or up[1:].numel() != down[0] or not down[0]:
        return False
    return down[1:].numel() == size[1:].numel() if kind == DOWN else up[0] == size[0]
