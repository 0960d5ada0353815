"""The only door to ComfyUI's internals.

* `comfy.ldm.wan.ar_model.CausalWanModel` with `init_kv_caches` and `forward`: the backbone that streams.
* `ModelPatcher.add_object_patch` and `get_model_object` on these two: our forward and memory replace them in
  core's sampler and in ours, while the host goes on handling LoRA, offload and quantisation.
* `transformer_options["ar_state"]["start_frame"]` and `KSAMPLER.extra_options["num_frame_per_block"]`: where core's
  `SamplerARVideo` stands and how it cuts a video.
* `transformer_options["ar_config"]["initial_latent"]`: the start image of `ARVideoI2V`.
* `transformer_options["uuids"]`: tells conditional and unconditional passes apart.
* `WrappersMP.OUTER_SAMPLE`: tells samplers that stream from those that do not.
* `WrappersMP.SAMPLER_SAMPLE`: opens and closes the memories of one sampling.
* `WrappersMP.PREPARE_SAMPLING`: makes the host leave room for keys and values.
* `WrappersMP.APPLY_MODEL`: if our forward was never reached, tells whether the model was run at all.
* `ModelPatcher.object_patches`, `wrappers`, `model_options` and `guider.conds`: what other nodes have set
  (`other_nodes`), and a `uuid` of its own for each prompt.
* `CallbacksMP.ON_CLONE` and `ON_MATCH_MULTIGPU_CLONES`: bind the patches of a clone that has a module of its own
  (deep copies, further GPUs, `torch.compile` under dynamic VRAM) to that module.
* `model_config.process_unet_state_dict_for_saving`: what ModelSave and CheckpointSave write of a model.
* `comfy.ldm.modules.attention.optimized_attention`: the attention that the user or another pack has chosen.
* `comfy.ops.disable_weight_init`: norm layers that our kernels may compute themselves.
* `comfy.model_management`: casts of bare parameters under offload, the stop button, the memory of a GPU.

`symbols._SYMBOLS` lists what `missing_symbols` probes; the rest is covered by tests/host.
Features are probed, never versions: a fork or a later core that has them works.
"""

from .chunk_forward import ChunkForward, throw_if_stopped
from .other_nodes import later_text
from .patched_models import causal_backbone, memory_config, model_patch
from .patching import with_compile, with_memory, with_patch, with_skip
from .sampling_hooks import HEADS_KEY, NEEDED_LATENT, notices, open_run
from .saving import add_when_saved
from .symbols import NEEDED, missing_symbols
from .video_memory import (
    RECACHE_KEY,
    TOTAL_FRAMES_KEY,
    check_room,
    planned_video,
    set_start_latents,
    start_latents,
    streamed_video,
)

__all__ = [
    "HEADS_KEY",
    "NEEDED",
    "NEEDED_LATENT",
    "RECACHE_KEY",
    "TOTAL_FRAMES_KEY",
    "ChunkForward",
    "add_when_saved",
    "causal_backbone",
    "check_room",
    "later_text",
    "memory_config",
    "missing_symbols",
    "model_patch",
    "notices",
    "open_run",
    "planned_video",
    "set_start_latents",
    "start_latents",
    "streamed_video",
    "throw_if_stopped",
    "with_compile",
    "with_memory",
    "with_patch",
    "with_skip",
]
