"""Opens and closes the memories of one sampling, whichever sampler is at work."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from ...core.checkpoints.families.running import COMMON
from ...core.errors import DummyForcingError
from ...core.video import VideoShape
from ..patches.model_patch import ModelPatch
from . import other_nodes
from .chunk_forward import FORWARD, RUN_KEY, ChunkForward, cover
from .patched_models import PATCH_KEY, causal_backbone
from .sampling_run import SamplingRun
from .video_memory import STREAMS_KEY, check_room, sampled_video

logger = logging.getLogger("dummy_forcing")

HEADS_KEY = "dummy_forcing.heads"  # on a MODEL: a function of (MODEL, HeadsFound), called when heads were measured
NEEDED_LATENT = (
    "AR streaming needs a video latent [batch, channels, frames, height, width], such as 'Empty AR Video Latent' "
    "makes"
)


@contextlib.contextmanager
def open_run(
    guider, extra_args: dict[str, Any], sampler, sigmas: Tensor, shape: tuple[int, ...]
) -> Iterator[SamplingRun]:
    """The run of the current sampling: the one that a patch has opened, or a dense one for an unpatched model.

    shape: of the latents.
    """
    options = _transformer_options(extra_args)
    if RUN_KEY in options:
        yield options[RUN_KEY]
        return
    model, patch = guider.model_patcher, ModelPatch()
    video = sampled_video(model, patch, sampler, shape, options, sigmas)
    check_room(model, patch, video)
    other_nodes.leave_out_windows(extra_args["model_options"])
    with _attached(causal_backbone(model)), _running(guider, options, patch, sampler, video, sigmas) as run:
        yield run


@contextlib.contextmanager
def _running(
    guider, options: dict[str, Any], patch: ModelPatch, sampler, video: VideoShape, sigmas: Tensor
) -> Iterator[SamplingRun]:
    """Opens a `SamplingRun` and puts it into the options, where our forward finds it; always closes it."""
    from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

    model = guider.model_patcher
    other_nodes.check_prompts(guider.conds, float(sigmas[0]), getattr(sampler, "context_noise", 0.0))
    listener = model.get_attachment(HEADS_KEY)
    heads_found = None if listener is None else functools.partial(listener, model)
    observers, passes = getattr(sampler, "observers", ()), len(sigmas) - 1
    run = options[RUN_KEY] = SamplingRun(patch, video, passes, observers, heads_found)
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
    """Sets our forward on a module for one sampling."""
    own = vars(backbone).get("forward")  # None unless another pack has set one on the module
    backbone.forward = cover(backbone, backbone.forward)
    try:
        yield
    finally:
        if own is None:
            del backbone.forward
        else:
            backbone.forward = own


def _apply(run: SamplingRun, executor, *args, **kwargs):
    """APPLY_MODEL wrapper: notes that the model was run, so that an error can say why our forward was not."""
    run.applied = True
    return executor(*args, **kwargs)


def notices(model, own_levels: bool = False) -> list[str]:
    """Sentences about settings of other nodes on a MODEL that have no effect, or a different one, while it streams.

    own_levels: as in `other_nodes.notices`.
    """
    return _notices(model, model.get_model_object(FORWARD), own_levels)


def _notices(model, forward, own_levels: bool) -> list[str]:
    """forward: the module's forward, which may cover another pack's."""
    objects = {name: patch for name, patch in model.object_patches.items() if name != FORWARD}
    if isinstance(forward, ChunkForward) and forward.below:
        objects[FORWARD] = forward.below
    return other_nodes.notices(other_nodes.Found(objects, model.wrappers, model.model_options), own_levels)


def _streams(sampler) -> bool:
    """Whether a sampler generates chunk by chunk: ours, ComfyUI's own, or one that takes the same option."""
    from comfy.k_diffusion import sampling

    function = getattr(sampler, "sampler_function", None)
    known = function is not None and function is getattr(sampling, "sample_ar_video", None)
    return (
        known or hasattr(sampler, "stream_config") or "num_frame_per_block" in getattr(sampler, "extra_options", {})
    )


def sample_by(patch: ModelPatch, executor, noise, latent_image, sampler, *args, **kwargs):
    """OUTER_SAMPLE wrapper: early enough to change options before the host estimates memory and loads the model."""
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


def sample_with_run(patch: ModelPatch, executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """SAMPLER_SAMPLE wrapper: opens the memories of a sampling, and frees them however it ends."""
    options, sampler = _transformer_options(extra_args), executor.class_obj
    if not _streams(sampler):
        logger.warning(
            "%s makes all frames of a video at once: nothing streams, and what Dummy Forcing's nodes have set on "
            "the model has no effect. Use Stream AR Video, or the AR Streaming Sampler or SamplerARVideo in "
            "SamplerCustomAdvanced.",
            getattr(getattr(sampler, "sampler_function", sampler), "__name__", type(sampler).__name__),
        )
        return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
    if patch.loop != COMMON and not hasattr(sampler, "stream_config"):
        logger.warning(
            "this model's family has a loop of its own, which only Stream AR Video and the AR Streaming Sampler "
            "know; %s runs it as an ordinary one",
            type(sampler).__name__,
        )
    video = sampled_video(guider.model_patcher, patch, sampler, tuple(noise.shape), options, sigmas)
    check_room(guider.model_patcher, patch, video)
    with _running(guider, options, patch, sampler, video, sigmas):
        return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)


def _transformer_options(extra_args: dict[str, Any]) -> dict[str, Any]:
    return extra_args["model_options"].setdefault("transformer_options", {})
