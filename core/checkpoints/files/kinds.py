"""What a file holds, by the names of its tensors: for error messages about files of the wrong kind."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..layouts.wrapped_names import bare_name, looks_like_tae, looks_like_vae
from ..lora.lora_names import other_adapter, part_of

BACKBONE, DECODER = "a Wan backbone", "a TAEHV decoder"
_BLOCK = re.compile(r"^blocks\.\d+\.(?:self_attn|cross_attn|attn1|attn2|ffn|norm3|modulation)\b")
_TEXT_ENCODER = re.compile(r"^(?:encoder\.block\.\d+\.layer\.|blocks\.\d+\.attn\.|text_model\.|token_embedding\.)")


def kind_of(names: Iterable[str]) -> str | None:
    """What a file with tensors of these names holds, with an article; None if that is not known."""
    names = [bare_name(name) for name in names]
    other = other_adapter(names)
    if other is not None:
        return other[0].title
    if any(map(part_of, names)):
        return "a LoRA"
    if looks_like_vae(names):
        return "a Wan VAE"
    if looks_like_tae(names):
        return DECODER
    if any(map(_BLOCK.search, names)):
        return BACKBONE
    if any(map(_TEXT_ENCODER.search, names)):
        return "a text encoder"
    return None
