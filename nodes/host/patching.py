"""Clones of a MODEL that stream: everything that our nodes set on a MODEL."""

from __future__ import annotations

import functools
from dataclasses import replace

from ...core.checkpoints.files.record import record_of
from ...core.checkpoints.layouts.normal import causal_config
from ...core.memory_config import MemoryConfig
from ...core.methods.pass_skip import PassSkip
from ..patches.model_patch import ModelPatch
from .chunk_forward import FORWARD, INIT_CACHES, cover, init_no_caches
from .patched_models import PATCH_KEY, causal_backbone, model_patch, shape_of
from .sampling_hooks import sample_by, sample_with_run
from .saving import SAVED, Saved, add_when_saved
from .video_memory import prepare_with_kv


def with_memory(model, config: MemoryConfig):
    """A clone of the MODEL that streams with this memory in place of an older one; the rest is unchanged."""
    return with_patch(model, replace(model_patch(model), memory=config))


def with_skip(model, skip: PassSkip | None):
    """A clone of the MODEL that skips these passes and no others; the rest is unchanged."""
    return with_patch(model, replace(model_patch(model), skip=skip))


def with_compile(model):
    """A clone of the MODEL whose blocks are compiled when it streams; the rest is unchanged."""
    return with_patch(model, replace(model_patch(model), compile=True))


def with_patch(model, patch: ModelPatch):
    """A clone of the MODEL that streams under `patch`, in core's AR sampler and ours; replaces an older patch."""
    from comfy.patcher_extension import CallbacksMP, WrappersMP

    backbone = causal_backbone(model)
    patched = model.clone()
    if not isinstance(model.get_model_object(SAVED), Saved):  # not loaded by our loader
        add_when_saved(patched, record_of(causal_config(shape_of(backbone))))
    if patched.get_attachment(PATCH_KEY) is None:
        _bind(patched)
    wrappers = {
        WrappersMP.OUTER_SAMPLE: sample_by,
        WrappersMP.PREPARE_SAMPLING: prepare_with_kv,
        WrappersMP.SAMPLER_SAMPLE: sample_with_run,
    }
    for kind, wrapper in wrappers.items():
        patched.remove_wrappers_with_key(kind, PATCH_KEY)  # a wrapper added twice would run twice
        patched.add_wrapper_with_key(kind, PATCH_KEY, functools.partial(wrapper, patch))
    for kind in (CallbacksMP.ON_CLONE, CallbacksMP.ON_MATCH_MULTIGPU_CLONES):
        patched.remove_callbacks_with_key(kind, PATCH_KEY)
        patched.add_callback_with_key(kind, PATCH_KEY, _rebind)
    patched.set_attachments(PATCH_KEY, patch)
    return patched


def _rebind(patcher, clone) -> None:
    """Clone callback: a clone shares our forward by reference, but needs a new one for a module of its own."""
    if clone.model is not patcher.model:
        _bind(clone)


def _bind(patcher) -> None:
    """Patch the patcher's own module."""
    backbone = patcher.get_model_object("diffusion_model")
    patcher.add_object_patch(FORWARD, cover(backbone, patcher.get_model_object(FORWARD)))
    patcher.add_object_patch(INIT_CACHES, init_no_caches)
