"""How trainers name a LoRA's parts and the modules that it changes, and which kinds of adapters are no plain LoRA.

Modules have Wan's names or those of diffusers, with dots (PEFT, diffusion-pipe, ai-toolkit, DiffSynth) or with
underscores behind a prefix (kohya and musubi `lora_unet_`, Wan-Fun `lora_unet__`, OneTrainer `lora_transformer_`,
SimpleTuner `lycoris_`). One file may mix these spellings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..layouts.diffusers_names import diffusers_name
from ..layouts.wrapped_names import bare_name

DOWN, UP = "lora_A.weight", "lora_B.weight"

Part = tuple[str, str]
"""Module and part, such as ("blocks.0.self_attn.q", "lora_A.weight")."""

_FACTOR = re.compile(
    r"(?:\.lora_|\.lora\.|_lora\.|\.lora_linear_layer\.)(A|B|down|up)(?:\.(?!weight$|bias$)\w+)?(?:\.weight)?$"
)
_OTHER = re.compile(r"\.(alpha|diff|diff_b|w_norm|b_norm)$")
_FACTORS = {"A": DOWN, "down": DOWN, "B": UP, "up": UP}
_DIFFERENCES = {"w_norm": "diff", "b_norm": "diff_b"}  # LyCORIS's names for differences of norm layers
_FLAT = re.compile(r"^(?:lora_(?:unet|transformer|dit)_+|lycoris_)")
_OF_COMFYUI = re.compile(r"^(?:diffusion_model\.|lora_unet_(?!_))")  # prefixes before Wan's names in ComfyUI


@dataclass(frozen=True)
class Adapter:
    """A kind of adapter that is not read here.

    Attributes:
        title: what it is called in messages, with an article.
        pattern: finds it by the names of its tensors.
        comfyui: whether ComfyUI's own loader applies it (comfy/weight_adapter, ComfyUI 0.27).
    """

    title: str
    pattern: re.Pattern
    comfyui: bool = True


_ADAPTERS = (
    Adapter("a LoKr of LyCORIS", re.compile(r"\.lokr_(?:w[12](?:_[ab])?|t2)$")),
    Adapter("a LoHa of LyCORIS", re.compile(r"\.hada_(?:w[12]_[ab]|t[12])$")),
    Adapter("an OFT or BOFT", re.compile(r"\.oft_(?:blocks|diag)$")),
    Adapter("a GLoRA of LyCORIS", re.compile(r"\.(?:a[12]|b[12])\.weight$")),
    Adapter("a DoRA", re.compile(r"\.dora_scale$")),
    Adapter("a DoRA of PEFT", re.compile(r"\.lora_magnitude_vector(?:\.\w+)*$"), comfyui=False),
    Adapter("a LoRA in three factors", re.compile(r"\.lora_mid\.weight$")),
    Adapter("a LoRA with biases of its own", re.compile(r"\.lora_B(?:\.\w+)?\.bias$"), comfyui=False),
    Adapter("a LoRA with whole weights in it", re.compile(r"\.(?:set_weight|reshape_weight)$")),
    Adapter("a LoRA that changes a text encoder", re.compile(r"^(?:lora_te\d*_|text_encoder\..*\.lora)")),
)

# Other models that LoRAs are made for, and patterns of the names in such LoRAs.
_ELSEWHERE = (
    (
        "SDXL",
        re.compile(r"^lora_te[12]_|^lora_unet_(?:in|out)put_blocks_|down_blocks[._]2.*transformer_blocks[._][1-9]"),
    ),
    (
        "Stable Diffusion 1.5",
        re.compile(r"^(?:lora_unet_|lora_te_|unet\.)(?:(?:down|up)_blocks|mid_block|text_model)"),
    ),
    (
        "Flux or HunyuanVideo",
        re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|single_transformer_blocks)[._]\d"),
    ),
)


def part_of(name: str) -> Part | None:
    """The module, as the file names it, and the part that a bare name means; None if not from a plain LoRA."""
    factor = _FACTOR.search(name)
    if factor is not None:
        return name[: factor.start()], _FACTORS[factor[1]]
    other = _OTHER.search(name)
    return None if other is None else (name[: other.start()], _DIFFERENCES.get(other[1], other[1]))


def module_names(modules: Iterable[str]) -> dict[str, str]:
    """Wan's name of every module, by each name that a LoRA may use for it."""
    found: dict[str, str] = {}
    for module in modules:
        for name in (module, diffusers_name(module)):
            found |= {name: module, _flat(name): module}
    return found


def without_prefix(module: str) -> str:
    """`lora_unet_blocks_0_ffn_0` -> `blocks_0_ffn_0`; names with dots stay."""
    return _FLAT.sub("", module)


def other_adapter(names: Iterable[str]) -> tuple[Adapter, str] | None:
    """The kind of adapter, other than a plain LoRA, that the names show, and the first name that shows it."""
    names = list(names)
    for adapter in _ADAPTERS:
        name = next((name for name in names if adapter.pattern.search(name)), None)
        if name is not None:
            return adapter, name
    return None


def fits_somewhere(names: Iterable[str], modules: dict[str, str]) -> bool:
    """Whether any of these tensors, given by bare names, changes a module of the model.

    Args:
        modules: as `module_names` returns them.
    """
    for name in names:
        parts = name.split(".")
        if any(without_prefix(".".join(parts[:end])) in modules for end in range(1, len(parts))):
            return True
    return False


def model_elsewhere(names: Iterable[str]) -> str:
    """The other model that an adapter is for, by its tensors' names; "another model" if none is recognised."""
    names = list(names)
    found = (model for model, pattern in _ELSEWHERE if any(map(pattern.search, names)))
    return next(found, "another model")


def is_refused(adapter: Adapter, name: str, modules: dict[str, str]) -> str:
    """What a file with such an adapter is and what to do with it: the end of a message that begins with the file.

    Args:
        name: of one of the adapter's tensors, as it stands in the file.
        modules: as `module_names` returns them.
    """
    what = f"is {adapter.title} (it has {name!r})"
    if not adapter.comfyui:
        return (
            f"{what}, which neither this loader nor ComfyUI applies; merge the LoRA into the model with its trainer"
        )
    own = "ComfyUI's own Load LoRA node behind Load AR Video Model"
    bare = bare_name(name)
    found = adapter.pattern.search(bare)
    end = found.start() if found else len(bare)
    module = modules.get(without_prefix(bare[:end]))
    known = _OF_COMFYUI.match(name)
    spelt = f"{module}{bare[end:]}"
    if module is None or (known and _flat(name[known.end() :]) == _flat(spelt)):
        return f"{what}, which only {own} applies; choose the LoRA there"
    return (
        f"{what} under names that ComfyUI does not know; rename the LoRA's tensors, this one to "
        f"'diffusion_model.{spelt}', and choose the LoRA in {own}"
    )


def _flat(name: str) -> str:
    return name.replace(".", "_")
