"""Running a stream through ComfyUI without a latent as long as the video."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import comfy.samplers
import torch

from ...core.checkpoints.families.running import family_switch
from ...core.memory.memory import AttentionObserver
from ...core.stream.events import Event
from ...core.stream.given_latents import NOTHING_GIVEN, GivenLatents
from ...core.stream.prompt_times import PromptPlan
from ...core.stream.rollout import ImageAnchor
from .. import host
from ..patches.model_patch import ModelPatch
from .ar_sampler import ARStreamingSampler
from .model_facts import model_facts
from .prompt_schedule import NO_LATER_PROMPTS
from .video_plan import VideoPlan

VAE_KEY = "dummy_forcing.vae"


def run_stream(
    model,
    positive,
    plan: VideoPlan,
    seed: int,
    patch: ModelPatch,
    consumer: Callable[[Event], None],
    observers: Sequence[AttentionObserver] = (),
    vaes: Sequence = (),
    keep_partial: bool = True,
    stopped: Callable[[], None] | None = None,
    given: GivenLatents = NOTHING_GIVEN,
    prompts: PromptPlan = NO_LATER_PROMPTS,
    anchor: ImageAnchor | None = None,
) -> tuple[str, ...]:
    """Sample a video under a guider of its own and hand every event to the consumer.

    The guider is given latents of one chunk, so that nothing grows with the length. VAEs given here are loaded
    together with the model and stay loaded, so that chunks can be decoded in between. `given` are raw latents as
    a VAE makes them; `keep_partial` and `stopped` are as in `ARStreamingSampler`, the others as in `stream_chunks`.
    Returns the warnings of the log, as sentences.
    """
    patched = host.with_patch(model, patch)
    options = patched.model_options.setdefault("transformer_options", {})
    facts = model_facts(model)
    options[host.TOTAL_FRAMES_KEY] = plan.latent_frames
    options[host.RECACHE_KEY] = prompts.recached(patch.loop.rolling, family_switch(facts.family if facts else None))
    if given.opening is not None:
        host.set_start_latents(options, given.opening)
    if vaes:
        patched.set_additional_models(VAE_KEY, [vae.patcher for vae in vaes])
    guider = comfy.samplers.CFGGuider(patched)
    guider.inner_set_conds({"positive": positive})
    channels = host.causal_backbone(patched).in_dim
    latent = torch.zeros(1, channels, plan.chunk_frames, *plan.latent_size)
    sampler = ARStreamingSampler(
        plan.chunk_frames,
        total_frames=plan.latent_frames,
        observers=observers,
        consumer=consumer,
        keep_latents=False,
        keep_partial=keep_partial,
        stopped=stopped,
        prompts=prompts,
        source=given.source,
        anchor=anchor,
        context_noise=plan.context_noise,
        refine=plan.refine,
    )
    guider.sample(torch.zeros_like(latent), latent, sampler, torch.tensor(plan.sigmas), seed=seed)
    return sampler.said
