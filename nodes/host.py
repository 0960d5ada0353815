"""The only door to ComfyUI's internals.

* `comfy.ldm.wan.ar_model.CausalWanModel` with `init_kv_caches` and `forward`: the backbone that streams.
* `ModelPatcher.add_object_patch` and `get_model_object` on these two: our forward and memory take their place in
  core's sampler and in ours, while LoRA, offload and quantisation stay the host's.
* `transformer_options["ar_state"]["start_frame"]` and `KSAMPLER.extra_options["num_frame_per_block"]`: where core's
  `SamplerARVideo` stands and how it cuts a video.
* `transformer_options["ar_config"]["initial_latent"]`: the start image of `ARVideoI2V`.
* `transformer_options["uuids"]`: tells conditional and unconditional passes apart.
* `WrappersMP.OUTER_SAMPLE`: tells samplers that stream from those that do not.
* `WrappersMP.SAMPLER_SAMPLE`: opens and closes the memories of one sampling.
* `WrappersMP.PREPARE_SAMPLING`: makes the host leave room for keys and values.
* `WrappersMP.APPLY_MODEL`: whether the model is run at all, where our forward is not reached.
* `ModelPatcher.object_patches`, `wrappers`, `model_options` and `guider.conds`: what other nodes have set
  (`other_nodes`), and that each prompt has a `uuid` of its own.
* `CallbacksMP.ON_CLONE` and `ON_MATCH_MULTIGPU_CLONES`: bind the patches of a clone that has a module of its own
  (deep copies, further GPUs, `torch.compile` under dynamic VRAM) to that module.
* `model_config.process_unet_state_dict_for_saving`: what ModelSave and CheckpointSave write of a model.
* `comfy.ldm.modules.attention.optimized_attention`: the attention that the user or another pack has chosen.
* `comfy.ops.disable_weight_init`: norm layers that our kernels may compute in their place.
* `comfy.model_management`: casts of bare parameters under offload, the stop button, the memory of a GPU.

`_SYMBOLS` lists what `missing_symbols` probes; the rest is covered by tests/host.
Features are probed, never versions (HOST.md): a fork or a later core that has them works.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import logging
import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.checkpoints.normal import causal_config
from ..core.checkpoints.record import record_of
from ..core.checkpoints.running import COMMON, FamilyLoop
from ..core.errors import DummyForcingError
from ..core.free_memory import free_bytes, lent_to_gpu
from ..core.memory.config import MemoryConfig, VideoLayout
from ..core.memory.forecast import forecast_kv
from ..core.stream.config import StreamConfig
from ..core.stream.decode import StreamingDecoder
from ..core.stream.pass_skip import PassSkip
from ..core.stream.room import Demand, Words
from ..core.stream.room import check_room as check_demand
from ..core.stream.tally import pixel_frames
from ..core.wan.block import EAGER
from ..core.wan.compiled import compiled_parts
from ..core.wan.forward import Home
from ..core.wan.norms import computes_as_torch
from ..core.wan.shape import PATCH
from . import other_nodes
from .model_patch import ModelPatch
from .module_shape import shape_of
from .sampling_run import NOT_REACHED, ChunkGrid, SamplingRun

logger = logging.getLogger("dummy_forcing")

NEEDED = "ComfyUI 0.27 or newer"
RUN_KEY = "dummy_forcing.run"
PATCH_KEY = "dummy_forcing.patch"
TOTAL_FRAMES_KEY = "dummy_forcing.total_frames"
RECACHE_KEY = "dummy_forcing.recache_frames"
STREAMS_KEY = "dummy_forcing.streams"  # whether the sampler at work is one that streams
HEADS_KEY = "dummy_forcing.heads"  # on a MODEL: a function of (MODEL, HeadsFound), called when heads were measured
USUAL_CHUNK = 3  # latent frames, where the sampler has not said yet
USUAL_PASSES = 5  # of families that take several chunks at once
NEEDED_LATENT = (
    "AR streaming needs a video latent [batch, channels, frames, height, width], such as 'Empty AR Video Latent' "
    "makes"
)
_FORWARD, _INIT_CACHES = "diffusion_model.forward", "diffusion_model.init_kv_caches"
_SAVED = "model_config.process_unet_state_dict_for_saving"
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
    """What this ComfyUI lacks of what the nodes need; empty if all is well."""
    return [f"{module}.{name}" for module, name in _SYMBOLS if not _has(module, name)]


def _has(module: str, name: str) -> bool:
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return True


def causal_backbone(model) -> nn.Module:
    """The causal Wan inside a MODEL.

    Raises:
        DummyForcingError: the model is not autoregressive.
    """
    backbone = model.get_model_object("diffusion_model")
    if not hasattr(backbone, "init_kv_caches"):
        raise DummyForcingError(
            f"this model ({type(backbone).__name__}) is not autoregressive, or was loaded as an ordinary one; "
            "load an AR video checkpoint with 'Load AR Video Model'"
        )
    return backbone


def model_patch(model) -> ModelPatch:
    """What the patch nodes have set so far; dense and with every pass computed if none did."""
    return model.get_attachment(PATCH_KEY) or ModelPatch()


def memory_config(model) -> MemoryConfig:
    """The memory that the patch nodes have set so far; dense if none did."""
    return model_patch(model).memory


def with_memory(model, config: MemoryConfig):
    """A clone of the MODEL that streams with this memory in place of an older one, all else as it was."""
    return with_patch(model, replace(model_patch(model), memory=config))


def with_skip(model, skip: PassSkip | None):
    """A clone of the MODEL that skips these passes and no others, all else as it was."""
    return with_patch(model, replace(model_patch(model), skip=skip))


def with_compile(model):
    """A clone of the MODEL whose blocks are compiled when it streams, all else as it was."""
    return with_patch(model, replace(model_patch(model), compile=True))


def with_patch(model, patch: ModelPatch):
    """A clone of the MODEL that streams under `patch`, in core's AR sampler and in ours; replaces an older one."""
    from comfy.patcher_extension import CallbacksMP, WrappersMP

    backbone = causal_backbone(model)
    patched = model.clone()
    if not isinstance(model.get_model_object(_SAVED), _Saved):  # another node has loaded it
        add_when_saved(patched, record_of(causal_config(shape_of(backbone))))
    if patched.get_attachment(PATCH_KEY) is None:
        _bind(patched)
    wrappers = {
        WrappersMP.OUTER_SAMPLE: _sample_by,
        WrappersMP.PREPARE_SAMPLING: _prepare_with_kv,
        WrappersMP.SAMPLER_SAMPLE: _sample_with_run,
    }
    for kind, wrapper in wrappers.items():
        patched.remove_wrappers_with_key(kind, PATCH_KEY)  # adding twice would run twice
        patched.add_wrapper_with_key(kind, PATCH_KEY, functools.partial(wrapper, patch))
    for kind in (CallbacksMP.ON_CLONE, CallbacksMP.ON_MATCH_MULTIGPU_CLONES):
        patched.remove_callbacks_with_key(kind, PATCH_KEY)
        patched.add_callback_with_key(kind, PATCH_KEY, _rebind)
    patched.set_attachments(PATCH_KEY, patch)
    return patched


def add_when_saved(model, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors into the file that a save node of ComfyUI makes of a MODEL or of its clones."""
    prepare = model.get_model_object(_SAVED)
    model.add_object_patch(_SAVED, _Saved(getattr(prepare, "below", prepare), tensors))


class _Saved:
    """Takes the place of the function that names a model's tensors for a file; `below` is that function."""

    def __init__(self, below: Callable[[dict[str, Tensor]], dict[str, Tensor]], tensors: Mapping[str, Tensor]):
        self.below, self._tensors = below, tensors

    def __call__(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        logger.warning(
            "open the saved file with Load AR Video Model, which knows it again; ComfyUI's own loaders take it for "
            "an ordinary bidirectional model, since its save nodes do not write that it is causal. `dummy-forcing "
            "convert` makes a file of it that they open as well"
        )
        return {**self.below(state), **self._tensors}


def _rebind(patcher, clone) -> None:
    """Clone callback: object patches are copied by reference, but a clone may have a module of its own."""
    if clone.model is not patcher.model:
        _bind(clone)


def _bind(patcher) -> None:
    """Patch the patcher's own module."""
    backbone = patcher.get_model_object("diffusion_model")
    patcher.add_object_patch(_FORWARD, _cover(backbone, patcher.get_model_object(_FORWARD)))
    patcher.add_object_patch(_INIT_CACHES, _init_no_caches)


def _cover(backbone: nn.Module, forward: Callable[..., Tensor]) -> ChunkForward:
    """Our forward over the present one of a module, which may be ours, core's or another pack's."""
    if isinstance(forward, ChunkForward):
        return ChunkForward(backbone, forward.below)
    is_core = getattr(forward, "__func__", None) is type(backbone).forward
    return ChunkForward(backbone, None if is_core else forward)


class _NoCache(dict):
    """Core's sampler rewinds the `end` of a cache; only core's forward would ask for more."""

    def __missing__(self, key: str):
        raise DummyForcingError(NOT_REACHED)


def _init_no_caches(batch_size, max_seq_len, device, dtype) -> list[_NoCache]:
    return [_NoCache(end=0)]  # the keys and values are in the run


class ChunkForward:
    """Takes the place of `diffusion_model.forward`; steps aside unless an AR sampler is at work.

    below: another pack's forward that this one covers; None if there is only core's.
    """

    def __init__(self, backbone: nn.Module, below: Callable[..., Tensor] | None):
        self.below = below
        self._backbone = weakref.ref(backbone)  # it holds this object: a cycle would keep unused weights in memory

    def __deepcopy__(self, memo: dict) -> ChunkForward:
        return ChunkForward(copy.deepcopy(self._backbone(), memo), copy.deepcopy(self.below, memo))

    @torch.compiler.disable
    def __call__(
        self, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **kwargs
    ) -> Tensor:
        backbone, options = self._backbone(), transformer_options or {}
        run, state = options.get(RUN_KEY), options.get("ar_state")
        if run is None and state is not None and isinstance(state["kv_caches"][0], _NoCache):
            raise DummyForcingError(
                "the sampler makes chunk after chunk, but not as Dummy Forcing knows it; use Stream AR Video, the "
                "AR Streaming Sampler or SamplerARVideo"
            )
        if run is None or (run.clock is None and state is None):
            below = self.below or type(backbone).forward.__get__(backbone)
            return below(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)
        from comfy.ldm.common_dit import pad_to_patch_size

        height, width = x.shape[-2:]
        padded = pad_to_patch_size(x, (1, PATCH, PATCH))
        start = None if state is None else state["start_frame"]
        keys = options.get("uuids") or [None]
        flow = run.flow(backbone, padded, timestep, context, keys, start, _home(options, run.patch))
        return flow[..., :height, :width]


def _home(options: dict[str, Any], patch: ModelPatch) -> Home:
    from comfy.ldm.modules.attention import optimized_attention

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = q.shape[2]
        q, k, v = (tensor.flatten(2) for tensor in (q, k, v))
        return optimized_attention(q, k, v, heads=heads, transformer_options=options).unflatten(-1, (heads, -1))

    parts = compiled_parts() if patch.compile else EAGER
    return Home(_cast, attention, _embed, _computes_as_torch, parts, throw_if_stopped)


def throw_if_stopped() -> None:
    """Raise the host's interrupt where somebody has pressed its stop button."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()


# Functions of the module, not of a pass: compiled code asks whether they are the same.
def _cast(vector: Tensor, like: Tensor) -> Tensor:
    from comfy.model_management import cast_to

    return cast_to(vector, dtype=like.dtype, device=like.device)


def _embed(embedding: nn.Module, x: Tensor) -> Tensor:
    return embedding(x.float()).to(x.dtype)  # the host keeps this layer in fp32


def _computes_as_torch(norm: nn.Module) -> bool:
    """Norms of the host that do no more than cast their vectors: no LoRA on them, none that are paged in."""
    import comfy.ops

    ops = comfy.ops.disable_weight_init
    if type(norm).forward not in (ops.RMSNorm.forward, ops.LayerNorm.forward):
        return computes_as_torch(norm)
    return not (norm.weight_function or norm.bias_function or hasattr(norm, "_v"))


@contextlib.contextmanager
def open_run(
    guider, extra_args: dict[str, Any], sampler, grid: ChunkGrid, sigmas: Tensor, shape: tuple[int, ...]
) -> Iterator[SamplingRun]:
    """The run of a sampling under way: the one that a patch has opened, or a dense one of an unpatched model.

    shape: of the latents.
    """
    options = _transformer_options(extra_args)
    if RUN_KEY in options:
        yield options[RUN_KEY]
        return
    backbone = causal_backbone(guider.model_patcher)
    _check_sampling(guider.model_patcher, ModelPatch(), shape, grid)
    other_nodes.leave_out_windows(extra_args["model_options"])
    with _attached(backbone), _running(guider, options, ModelPatch(), sampler, grid, sigmas) as run:
        yield run


@contextlib.contextmanager
def _running(
    guider, options: dict[str, Any], patch: ModelPatch, sampler, grid: ChunkGrid, sigmas: Tensor
) -> Iterator[SamplingRun]:
    """Opens a `SamplingRun` where our forward finds it; closes it whatever happens."""
    from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

    model = guider.model_patcher
    other_nodes.check_prompts(guider.conds, float(sigmas[0]), getattr(sampler, "context_noise", 0.0))
    listener = model.get_attachment(HEADS_KEY)
    heads_found = None if listener is None else functools.partial(listener, model)
    observers, passes = getattr(sampler, "observers", ()), len(sigmas) - 1
    run = options[RUN_KEY] = SamplingRun(patch, grid, passes, observers, heads_found)
    add_wrapper_with_key(WrappersMP.APPLY_MODEL, PATCH_KEY, functools.partial(_apply, run), options)
    other_nodes.tell_prompts_apart(guider.conds)
    own_levels = getattr(sampler, "own_levels", False)
    found = _notices(model, causal_backbone(model).forward, own_levels)
    for said in (*found, *other_nodes.prompt_notices(guider.conds)):
        run.say(said)
    try:
        yield run
        run.check_reached()
    finally:
        options.pop(RUN_KEY, None)
        run.close()


@contextlib.contextmanager
def _attached(backbone: nn.Module) -> Iterator[None]:
    """Our forward on a module for the length of one sampling."""
    own = vars(backbone).get("forward")
    backbone.forward = _cover(backbone, backbone.forward)
    try:
        yield
    finally:
        if own is None:
            del backbone.forward
        else:
            backbone.forward = own


def _apply(run: SamplingRun, executor, *args, **kwargs):
    """APPLY_MODEL wrapper: the model is run, whether or not our forward is then reached."""
    run.applied = True
    return executor(*args, **kwargs)


def notices(model, own_levels: bool = False) -> list[str]:
    """What other nodes have set on a MODEL that does nothing, or something else, while it streams: sentences.

    own_levels: as in `other_nodes.notices`.
    """
    return _notices(model, model.get_model_object(_FORWARD), own_levels)


def _notices(model, forward, own_levels: bool) -> list[str]:
    """forward: that of the module, which may cover another pack's."""
    objects = {name: patch for name, patch in model.object_patches.items() if name != _FORWARD}
    if isinstance(forward, ChunkForward) and forward.below:
        objects[_FORWARD] = forward.below
    return other_nodes.notices(other_nodes.Found(objects, model.wrappers, model.model_options), own_levels)


def _streams(sampler) -> bool:
    """Whether a sampler makes chunk after chunk: ours, ComfyUI's own, or one that takes the same option."""
    from comfy.k_diffusion import sampling

    function = getattr(sampler, "sampler_function", None)
    known = function is not None and function is getattr(sampling, "sample_ar_video", None)
    return known or hasattr(sampler, "chunk_grid") or "num_frame_per_block" in getattr(sampler, "extra_options", {})


def _sample_by(patch: ModelPatch, executor, noise, latent_image, sampler, *args, **kwargs):
    """OUTER_SAMPLE wrapper: the host has not loaded anything yet, and its options are those of this sampling."""
    guider = executor.class_obj
    if _streams(sampler):
        expected = causal_backbone(guider.model_patcher).in_dim
        if noise.ndim == 5 and noise.shape[1] != expected:
            raise DummyForcingError(
                f"the latent has {noise.shape[1]} channels, the model's have {expected}; {NEEDED_LATENT}"
            )
        other_nodes.leave_out_windows(guider.model_options)
        guider.model_options.setdefault("transformer_options", {})[STREAMS_KEY] = True
    return executor(noise, latent_image, sampler, *args, **kwargs)


def _sample_with_run(patch: ModelPatch, executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """SAMPLER_SAMPLE wrapper: memories live exactly as long as one sampling, whatever ends it."""
    options, sampler = _transformer_options(extra_args), executor.class_obj
    if not _streams(sampler):
        logger.warning(
            "%s makes all frames of a video at once: nothing streams, and what Dummy Forcing's nodes have set on "
            "the model has no effect. Use Stream AR Video, or the AR Streaming Sampler or SamplerARVideo in "
            "SamplerCustomAdvanced.",
            getattr(getattr(sampler, "sampler_function", sampler), "__name__", type(sampler).__name__),
        )
        return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
    if patch.loop != COMMON and not hasattr(sampler, "chunk_grid"):
        logger.warning(
            "this model's family has a loop of its own, which only Stream AR Video and the AR Streaming Sampler "
            "know; %s runs it as an ordinary one",
            type(sampler).__name__,
        )
    grid = chunk_grid(sampler, tuple(noise.shape), options, patch.loop, tuple(sigmas.tolist()))
    _check_sampling(guider.model_patcher, patch, tuple(noise.shape), grid)
    with _running(guider, options, patch, sampler, grid, sigmas):
        return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)


def chunk_grid(
    sampler, shape: tuple[int, ...], options: dict[str, Any], loop: FamilyLoop, sigmas: tuple[float, ...]
) -> ChunkGrid:
    """How a sampler is going to cut latents of `shape`: ours says it, core's has it among its options."""
    if hasattr(sampler, "chunk_grid"):
        return sampler.chunk_grid(shape, options, loop, sigmas)
    chunk = getattr(sampler, "extra_options", {}).get("num_frame_per_block", 1)
    opening = start_latents(options)
    first = chunk if opening is None else opening.shape[2]
    total = shape[2] if len(shape) == 5 else 1
    return ChunkGrid(min(first, total), chunk, total)


def start_latents(options: dict[str, Any]) -> Tensor | None:
    """What `ARVideoI2V` has put before the video: raw latents [1, C, F, h, w], or None."""
    return options.get("ar_config", {}).get("initial_latent")


def set_start_latents(options: dict[str, Any], latents: Tensor) -> None:
    """Put raw latents [1, C, F, h, w] before the video, as `ARVideoI2V` does."""
    options["ar_config"] = {**options.get("ar_config", {}), "initial_latent": latents}


def _transformer_options(extra_args: dict[str, Any]) -> dict[str, Any]:
    return extra_args["model_options"].setdefault("transformer_options", {})


def _prepare_with_kv(patch: ModelPatch, executor, model, noise_shape, conds, *args, **kwargs):
    """PREPARE_SAMPLING wrapper: the host's estimate knows activations only, and those of the whole video at once.

    It is linear in the number of frames, so it is asked for as many frames as one chunk and the keys and values
    together cost.
    """
    options = (kwargs.get("model_options") or {}).get("transformer_options", {})
    if len(noise_shape) != 5 or not options.get(STREAMS_KEY):  # no video, which the sampler will say, or no memory
        return executor(model, noise_shape, conds, *args, **kwargs)
    batch, channels, frames, height, width = noise_shape
    layout = video_layout(model, noise_shape, options.get(TOTAL_FRAMES_KEY, frames))
    one, two = (model.model.memory_required([batch, channels, n, height, width]) for n in (1, 2))
    forecast = forecast_kv(patch.memory, causal_backbone(model), layout, options.get(RECACHE_KEY, 0))
    kv_frames = math.ceil(forecast.peak_bytes / (two - one))
    shape = [batch, channels, layout.pass_frames + kv_frames, height, width]
    return executor(model, shape, conds, *args, **kwargs)


def video_layout(
    model, shape, total_frames: int, chunk_frames: int = USUAL_CHUNK, passes: int = USUAL_PASSES
) -> VideoLayout:
    """What a memory must know of latents [B, C, F, h, w] that a MODEL is going to sample.

    passes: denoising passes of a chunk.
    """
    loop = model_patch(model).loop
    if loop.rollout is not None:
        total_frames = min(total_frames, loop.rollout.frames)
    chunk = min(chunk_frames, total_frames)
    return VideoLayout(
        batch=shape[0],
        tokens_per_frame=math.prod(token_grid(*shape[3:])),
        chunk_frames=chunk,
        total_frames=math.ceil(total_frames / chunk) * chunk,
        dtype=model.model.get_dtype_inference(),
        device=model.load_device,
        pass_frames=loop.pass_frames(chunk, passes),
        grid=token_grid(*shape[3:]),
    )


def stream_layout(model, config: StreamConfig) -> VideoLayout:
    """What a stream of one video needs memory for."""
    like = torch.empty(1, 0, dtype=model.model.get_dtype_inference(), device="meta")
    return replace(config.video_layout(like), device=model.load_device)


def _check_sampling(model, patch: ModelPatch, shape: tuple[int, ...], grid: ChunkGrid) -> None:
    """As `check_room`, for latents of this shape cut in this way."""
    if len(shape) == 5:  # else it is no video, and the sampler will say so
        tokens = token_grid(*shape[3:])
        check_room(
            model, patch, grid.layout(shape[0], tokens, model.model.get_dtype_inference(), model.load_device)
        )


def check_room(model, patch: ModelPatch, layout: VideoLayout, decoder: StreamingDecoder | None = None) -> None:
    """Raise DummyForcingError for a video that cannot fit, before anything is allocated for it.

    A GPU is taken to have all of its memory: the host moves away what others have there, and weights if need be.
    """
    from comfy.model_management import get_total_memory

    backbone, device = causal_backbone(model), layout.device
    if device.type == "cpu":
        room, where = free_bytes(device), "the computer"
    else:
        room, where = get_total_memory(device) + lent_to_gpu(get_total_memory(torch.device("cpu"))), "the GPU"
    check_demand(
        Demand(backbone, backbone.dim, backbone.ffn_dim, patch.memory, layout, decoder), room, where, _WORDS
    )


_WORDS = Words(
    size=lambda height, width: f"{width} x {height} pixels",
    length=lambda latents: f"{pixel_frames(latents)} frames",
)


def token_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a latent frame's tokens; ComfyUI pads odd sides."""
    return math.ceil(height / PATCH), math.ceil(width / PATCH)
