"""The parts of ComfyUI that the nodes need, and whether they are there."""

from __future__ import annotations

import importlib

NEEDED = "ComfyUI 0.27 or newer"
_SYMBOLS = (
    ("comfy.ldm.wan.ar_model", "CausalWanModel.init_kv_caches"),
    ("comfy.ldm.common_dit", "pad_to_patch_size"),
    ("comfy.ldm.modules.attention", "optimized_attention"),
    ("comfy.model_management", "cast_to"),
    ("comfy.model_management", "InterruptProcessingException"),
    ("comfy.model_management", "get_total_memory"),
    ("comfy.model_management", "throw_exception_if_processing_interrupted"),
    ("comfy.ops", "disable_weight_init.RMSNorm"),
    ("comfy.patcher_extension", "WrappersMP.SAMPLER_SAMPLE"),
    ("comfy.patcher_extension", "WrappersMP.PREPARE_SAMPLING"),
    ("comfy.patcher_extension", "CallbacksMP.ON_CLONE"),
    ("comfy.patcher_extension", "CallbacksMP.ON_MATCH_MULTIGPU_CLONES"),
    ("comfy.samplers", "CFGGuider"),
    ("comfy.samplers", "Sampler"),
    ("comfy.sd", "load_diffusion_model_state_dict"),
)


def missing_symbols() -> list[str]:
    """The parts that this ComfyUI lacks; empty if it has all that the nodes need."""
    return [f"{module}.{name}" for module, name in _SYMBOLS if not _has(module, name)]


def _has(module: str, name: str) -> bool:
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return True
