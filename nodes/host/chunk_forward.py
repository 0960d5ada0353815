"""Our forward in place of a backbone's own, and ComfyUI's versions of the operations that it calls."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import DummyForcingError
from ...core.wan.block import EAGER, computes_as_torch
from ...core.wan.compiled import compiled_parts
from ...core.wan.forward import Runtime
from ...core.wan.shape import PATCH
from ..patches.model_patch import ModelPatch
from .sampling_run import NOT_REACHED

RUN_KEY = "dummy_forcing.run"
FORWARD, INIT_CACHES = "diffusion_model.forward", "diffusion_model.init_kv_caches"


def cover(backbone: nn.Module, forward: Callable[..., Tensor]) -> ChunkForward:
    """Our forward on top of a module's present one, which may be ours, core's or another pack's."""
    if isinstance(forward, ChunkForward):
        return ChunkForward(backbone, forward.below)
    is_core = getattr(forward, "__func__", None) is type(backbone).forward
    return ChunkForward(backbone, None if is_core else forward)


class NoCache(dict):
    """An empty cache: core's sampler only rewinds `end`, so asking for more means that our forward was replaced."""

    def __missing__(self, key: str):
        raise DummyForcingError(NOT_REACHED)


def init_no_caches(batch_size, max_seq_len, device, dtype) -> list[NoCache]:
    """Replaces `init_kv_caches`."""
    return [NoCache(end=0)]  # the keys and values are held by the `SamplingRun`


class ChunkForward:
    """Replaces `diffusion_model.forward`; calls the one below it unless an AR sampler is at work.

    below: another pack's forward that this one covers; None if there is only core's.
    """

    def __init__(self, backbone: nn.Module, below: Callable[..., Tensor] | None):
        self.below = below
        self._backbone = weakref.ref(backbone)  # a strong reference would make a cycle and keep unused weights

    def __deepcopy__(self, memo: dict) -> ChunkForward:
        return ChunkForward(copy.deepcopy(self._backbone(), memo), copy.deepcopy(self.below, memo))

    @torch.compiler.disable
    def __call__(
        self, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **kwargs
    ) -> Tensor:
        backbone, options = self._backbone(), transformer_options or {}
        run, state = options.get(RUN_KEY), options.get("ar_state")
        if run is None and state is not None and isinstance(state["kv_caches"][0], NoCache):
            raise DummyForcingError(
                "the sampler generates chunk by chunk, but not in a way that Dummy Forcing knows; use Stream AR "
                "Video, the AR Streaming Sampler or SamplerARVideo"
            )
        if run is None or (run.clock is None and state is None):
            below = self.below or type(backbone).forward.__get__(backbone)
            return below(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)
        from comfy.ldm.common_dit import pad_to_patch_size

        height, width = x.shape[-2:]
        padded = pad_to_patch_size(x, (1, PATCH, PATCH))
        start = None if state is None else state["start_frame"]
        keys = options.get("uuids") or [None]
        flow = run.flow(backbone, padded, timestep, context, keys, start, _runtime(options, run.patch))
        return flow[..., :height, :width]


def _runtime(options: dict[str, Any], patch: ModelPatch) -> Runtime:
    from comfy.ldm.modules.attention import optimized_attention

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = q.shape[2]
        q, k, v = (tensor.flatten(2) for tensor in (q, k, v))
        return optimized_attention(q, k, v, heads=heads, transformer_options=options).unflatten(-1, (heads, -1))

    parts = compiled_parts() if patch.compile else EAGER
    return Runtime(_cast, attention, _embed, _computes_as_torch, parts, throw_if_stopped)


def throw_if_stopped() -> None:
    """Raise the host's interrupt if somebody has pressed its stop button."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()


# Defined once, at module level, not per pass: code is compiled again when these functions are new objects.
def _cast(vector: Tensor, like: Tensor) -> Tensor:
    from comfy.model_management import cast_to

    return cast_to(vector, dtype=like.dtype, device=like.device)


def _embed(embedding: nn.Module, x: Tensor) -> Tensor:
    return embedding(x.float()).to(x.dtype)  # the host keeps this layer in fp32


def _computes_as_torch(norm: nn.Module) -> bool:
    """Whether a norm of the host only casts its vectors: no LoRA is on it, and its weights are not paged in."""
    import comfy.ops

    ops = comfy.ops.disable_weight_init
    if type(norm).forward not in (ops.RMSNorm.forward, ops.LayerNorm.forward):
        return computes_as_torch(norm)
    return not (norm.weight_function or norm.bias_function or hasattr(norm, "_v"))
