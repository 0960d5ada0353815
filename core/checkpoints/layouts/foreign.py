"""Models that look like Wan backbones but cannot be run here, and how they are recognised.

Modules that our backbone lacks, and other numbers of channels, are certain signs. A file's name can mislead, so a
family that was chosen by hand overrules it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ...errors import DummyForcingError

_INSTEAD = "choose an autoregressive Wan 2.1 text-to-video model"

# Patterns of bare tensor names -> what the model is.
_MODULES = {
    r"^vace_": "a VACE model, which takes control videos",
    r"^control_adapter\.": "a camera-control model",
    r"\.action_model\.|^action_|\.(?:mouse|keyboard)_": "a world model with actions, such as Matrix-Game",
    r"\.cam_encoder\.|^(?:camera|cam)_|\.camera_": "a model with camera input, such as MagicWorld",
    r"^patch_(?:short|mid|long)\.": "Helios, which has no causal cache: it compresses its history instead",
    r"^(?:casual_audio_encoder|audio_injector|audio_proj)\.|\.audio_": "a model that is driven by audio",
    r"^(?:face_adapter|motion_encoder|pose_patch_embedding)\.|^patch_embedding_(?:mask|pose|global)\.": (
        "a model that animates a character"
    ),
    r"^img_emb\.|\.(?:k|v|norm_k)_img\.|^condition_embedder\.image_embedder\.|\.add_[kv]_proj\.": (
        "an image-to-video model with its own image encoder"
    ),
    r"^ref_conv\.": "a model that takes a reference image",
}

# Input channels -> what the model is.
_CHANNELS = {
    48: "of Wan 2.2 5B, as LongLive 2.0 and Yume 1.5 are (48 latent channels, another VAE, no causal version in "
    "ComfyUI 0.27 to 0.33)",
    36: "an image-to-video model (36 input channels)",
    32: "a control or inpainting model (32 input channels)",
    52: "a control model (52 input channels)",
}

# Patterns of file names, as words (`detect_family.words_of`) -> what the model is, and often why it is not run.
_NAMES = {
    r"long ?live ?2|long ?live.*\b5 ?b\b": "LongLive 2.0, which is of Wan 2.2 5B: 48 latent channels, another VAE",
    r"mem ?flow": "MemFlow, whose memory bank chooses frames by the prompt",
    r"stream ?diffusion": "StreamDiffusionV2, which changes a live video under a noise level and a sink that adapt",
    r"\bhelios\b": "Helios, which has no causal cache",
    r"matrix ?game": "Matrix-Game, which takes actions",
    r"magic ?world|\blingbot\b|\bminwm\b|dream ?x ?world": "a world model, which takes actions or camera paths",
    r"\byume\b": "Yume, which is of Wan 2.2 5B",
    r"causal ?wan ?2 ?2|\ba ?14 ?b\b": "of Wan 2.2 A14B, which has two backbones and takes an image",
    r"\bode ?init\b|\bar ?diffusion\b|\bcausal ?(?:ode|cd)\b": "an intermediate stage of training",
    r"\bbidirectional\b": "a bidirectional model and not autoregressive",
    r"(?:step|cfg) ?distill|light ?x ?2 ?v": "a bidirectional model for few steps and not autoregressive",
}


def refuse_foreign_parts(state: Mapping[str, Tensor], what: str) -> None:
    """Raise DummyForcingError for a model with modules, or numbers of channels, that our backbone does not have.

    Args:
        state: the tensors by bare names.
        what: what is being loaded and from where; error messages begin with it.
    """
    for pattern, title in _MODULES.items():
        name = next((name for name in state if re.search(pattern, name)), None)
        if name is not None:
            raise DummyForcingError(f"{what} is {title} (it has {name!r}), and cannot be run here; {_INSTEAD}")
    patches = state.get("patch_embedding.weight")
    channels = patches.shape[1] if patches is not None and patches.ndim > 1 else 0
    if channels in _CHANNELS:
        raise DummyForcingError(f"{what} is {_CHANNELS[channels]}, and cannot be run here; {_INSTEAD}")


def foreign_by_name(words: str) -> str | None:
    """What model a file is by the words of its name, if that model cannot be run here; else None."""
    return next((title for pattern, title in _NAMES.items() if re.search(pattern, words)), None)
