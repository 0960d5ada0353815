"""How much memory a video needs: what ComfyUI is told about it, and whether it fits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ...core.decoders.streaming import StreamingDecoder
from ...core.free_memory import free_bytes, lent_to_gpu
from ...core.kv_forecast import forecast_kv
from ...core.stream.config import StreamConfig
from ...core.stream.room import Demand, Words
from ...core.stream.room import check_room as check_demand
from ...core.video import VideoShape, pixel_frames, token_grid
from ...core.wan.forward import model_sizes
from ..patches.model_patch import ModelPatch
from .patched_models import causal_backbone, model_patch

TOTAL_FRAMES_KEY = "dummy_forcing.total_frames"
RECACHE_KEY = "dummy_forcing.recache_frames"
STREAMS_KEY = "dummy_forcing.streams"  # whether the sampler at work is one that streams
USUAL_CHUNK = 3  # latent frames, where the sampler has not said yet
USUAL_PASSES = 5  # of families that take several chunks at once


def sampled_video(
    model, patch: ModelPatch, sampler, shape: tuple[int, ...], options: dict[str, Any], sigmas: Tensor
) -> VideoShape:
    """What a sampler will make from latents of `shape`: ours says so, for core's it follows from the options."""
    if hasattr(sampler, "stream_config"):
        config = sampler.stream_config(shape, options, patch.loop, tuple(sigmas.tolist()))
        return config.video_shape(**_known(model), batch=shape[0])
    chunk = getattr(sampler, "extra_options", {}).get("num_frame_per_block", 1)
    opening = start_latents(options)
    first = chunk if opening is None else opening.shape[2]
    is_video = len(shape) == 5  # otherwise the sampler raises the error
    total = shape[2] if is_video else 1
    grid = token_grid(*shape[3:]) if is_video else (1, 1)
    return VideoShape(
        **_known(model),
        chunk_frames=chunk,
        total_frames=total,
        first_frames=min(first, total),
        batch=shape[0],
        grid=grid,
    )


def start_latents(options: dict[str, Any]) -> Tensor | None:
    """The opening that `ARVideoI2V` has set: raw latents [1, C, F, h, w], or None."""
    return options.get("ar_config", {}).get("initial_latent")


def set_start_latents(options: dict[str, Any], latents: Tensor) -> None:
    """Set raw latents [1, C, F, h, w] as the video's opening, as `ARVideoI2V` does."""
    options["ar_config"] = {**options.get("ar_config", {}), "initial_latent": latents}


def _known(model) -> dict[str, Any]:
    """The fields of `VideoShape` that the MODEL decides."""
    sizes = model_sizes(causal_backbone(model))
    return {**sizes, "dtype": model.model.get_dtype_inference(), "device": model.load_device}


def prepare_with_kv(patch: ModelPatch, executor, model, noise_shape, conds, *args, **kwargs):
    """PREPARE_SAMPLING wrapper: corrects the host's memory estimate, which counts the activations of the whole
    video at once and no keys and values.

    The estimate is linear in the number of frames, so the host is given the number of frames that costs as much as
    one chunk and the keys and values together.
    """
    options = (kwargs.get("model_options") or {}).get("transformer_options", {})
    if len(noise_shape) != 5 or not options.get(STREAMS_KEY):  # no video, or nothing streams
        return executor(model, noise_shape, conds, *args, **kwargs)
    batch, channels, frames, height, width = noise_shape
    video = planned_video(model, noise_shape, options.get(TOTAL_FRAMES_KEY, frames))
    one, two = (model.model.memory_required([batch, channels, n, height, width]) for n in (1, 2))
    forecast = forecast_kv(patch.memory, video, options.get(RECACHE_KEY, 0))
    kv_frames = math.ceil(forecast.peak_bytes / (two - one))
    shape = [batch, channels, video.pass_frames + kv_frames, height, width]
    return executor(model, shape, conds, *args, **kwargs)


def planned_video(
    model, shape, total_frames: int, chunk_frames: int = USUAL_CHUNK, passes: int = USUAL_PASSES
) -> VideoShape:
    """The video's shape before a sampler has told how it cuts latents [B, C, F, h, w] into chunks.

    passes: denoising passes of a chunk.
    """
    loop = model_patch(model).loop
    if loop.rollout is not None:
        total_frames = min(total_frames, loop.rollout.frames)
    chunk = min(chunk_frames, total_frames)
    return VideoShape(
        **_known(model),
        chunk_frames=chunk,
        total_frames=math.ceil(total_frames / chunk) * chunk,
        longest_pass=loop.pass_frames(chunk, passes),
        batch=shape[0],
        grid=token_grid(*shape[3:]),
    )


def streamed_video(model, config: StreamConfig) -> VideoShape:
    """The shape of a streamed video, for its memory needs."""
    return config.video_shape(**_known(model))


def check_room(model, patch: ModelPatch, video: VideoShape, decoder: StreamingDecoder | None = None) -> None:
    """Raise DummyForcingError for a video that cannot fit, before anything is allocated for it.

    On a GPU all of its memory counts as available: the host moves away other models, and weights if needed.
    """
    from comfy.model_management import get_total_memory

    backbone, device = causal_backbone(model), video.device
    if device.type == "cpu":
        room, where = free_bytes(device), "the computer"
    else:
        room, where = get_total_memory(device) + lent_to_gpu(get_total_memory(torch.device("cpu"))), "the GPU"
    check_demand(Demand(backbone.dim, backbone.ffn_dim, patch.memory, video, decoder), room, where, _WORDS)


_WORDS = Words(
    size=lambda height, width: f"{width} x {height} pixels",
    length=lambda latents: f"{pixel_frames(latents)} frames",
)
