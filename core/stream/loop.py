"""Streaming a video: a generator that holds a few chunks and yields events.

The memory is freed however the generator ends: closed, exhausted or by an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..memory.memory import AttentionObserver
from ..wan.forward import STANDALONE, Runtime
from .common import CommonLoop
from .config import StreamConfig
from .denoiser import BackboneDenoiser, Denoiser
from .events import Event
from .given_latents import NOTHING_GIVEN, GivenLatents
from .noise import NoiseSource
from .passes import Passes
from .prompts import NO_CHANGES, PromptSource
from .rolling import RollingLoop
from .rollout import ImageAnchor


def stream_video(
    backbone: nn.Module,
    text: Tensor,
    config: StreamConfig,
    noise: NoiseSource,
    observers: Sequence[AttentionObserver] = (),
    runtime: Runtime = STANDALONE,
    given: GivenLatents = NOTHING_GIVEN,
    prompts: PromptSource = NO_CHANGES,
    anchor: ImageAnchor | None = None,
) -> Iterator[Event]:
    """Generate a video chunk by chunk with a bare backbone.

    Args:
        backbone: module tree with Wan names; its device and dtype of computation are those of `text`.
        text: text-encoder output [B, L, text_dim].
        config: sizes, noise levels and memory.
        noise: initial and fresh noise.
        observers: look at attention, for example a `MassRecorder`.
        runtime: the operations that differ between plain PyTorch and a host such as ComfyUI.
        given, prompts, anchor: as in `stream_chunks`.

    Yields: as `stream_chunks`.
    """
    video = config.shape_for(backbone, text)
    with torch.inference_mode():
        denoiser = BackboneDenoiser(backbone, text, config.memory, video, observers, runtime, config.skip)
    yield from stream_chunks(denoiser, config, noise, given, prompts, anchor)


def stream_chunks(
    denoiser: Denoiser,
    config: StreamConfig,
    noise: NoiseSource,
    given: GivenLatents = NOTHING_GIVEN,
    prompts: PromptSource = NO_CHANGES,
    anchor: ImageAnchor | None = None,
) -> Iterator[Event]:
    """Generate a video chunk by chunk; closes the denoiser however this ends.

    Args:
        given: latents to begin with or to change.
        prompts: later prompts, which may be changed from outside while the stream runs.
        anchor: for rollouts, encodes the first context frame as an image; it must be given every chunk's decoded
            frames before it needs them. None takes the context's latents as they are.

    Yields:
        `PassDone` after every pass, `ContextComputed` after a clean pass over finished latents, `HeadsClassified`
        when roles appear, `ChunkDone` after every chunk, those of the opening included. The consumer may stop at
        any event by closing the generator.
    """
    try:
        given.check(denoiser.batch, config)
        passes = Passes(denoiser, config, noise)
        if config.rolling:
            yield from RollingLoop(passes, given, prompts).run()
        else:
            yield from CommonLoop(passes, given, prompts, anchor).run()
    finally:
        denoiser.close()
