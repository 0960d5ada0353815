"""The chunk loop as a ComfyUI sampler: `core.stream` drives the host's guider."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import comfy.samplers
import torch
from comfy.conds import CONDCrossAttn
from torch import Tensor

from ...core.checkpoints.families.running import FamilyLoop, family_switch
from ...core.clock import ChunkClock
from ...core.errors import DummyForcingError
from ...core.memory.memory import AttentionObserver, Cut, MemoryStatus
from ...core.stream.config import StreamConfig
from ...core.stream.denoiser import sigmas_for
from ...core.stream.events import ChunkDone, Event, PassDone
from ...core.stream.given_latents import GivenLatents
from ...core.stream.loop import stream_chunks
from ...core.stream.noise import NoiseSource, SeededNoise
from ...core.stream.prompt_times import PromptPlan
from ...core.stream.prompts import PromptSchedule, check_text
from ...core.stream.rollout import ImageAnchor
from .. import host
from ..host.sampling_run import SamplingRun
from .model_facts import model_facts
from .prompt_schedule import NO_LATER_PROMPTS

logger = logging.getLogger("dummy_forcing")

NOISE_RULES = ("portable", "ComfyUI")


@dataclass(frozen=True)
class HostNoise:
    """Initial noise as the host drew it, [B, C, F, h, w]; fresh noise as in core's own AR sampler.

    That rule seeds the device's global generator with seed + 1000 * chunk + pass (docs/references.md, "ComfyUI's
    noise"), so that results depend on the device; a generator of our own gives the same numbers. Chunks are
    counted from the end of the opening.
    """

    initial: Tensor
    seed: int
    config: StreamConfig

    def draw(self, chunk: int, pass_index: int, shape: tuple[int, ...]) -> Tensor:
        block = chunk - self.config.opening_chunks
        if pass_index == 0:
            start = self.config.opening_frames + block * self.config.chunk_frames
            return self.initial[:, :, start : start + shape[2]]
        generator = torch.Generator(self.initial.device).manual_seed(self.seed + 1000 * block + pass_index - 1)
        return torch.randn(shape, generator=generator, device=self.initial.device)


@dataclass(frozen=True)
class FreshNoise:
    """Fresh noise between passes, none to begin with: for latents that bring their own (Disable Noise)."""

    source: NoiseSource

    def draw(self, chunk: int, pass_index: int, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape) if pass_index == 0 else self.source.draw(chunk, pass_index, shape)


class GuiderDenoiser:
    """A ComfyUI guider and the run of its sampling as a `core.stream.denoiser.Denoiser`."""

    def __init__(self, guider, extra_args: dict[str, Any], run: SamplingRun, like: Tensor):
        self.batch, self.device, self.dtype = like.shape[0], like.device, like.dtype
        self._guider = guider
        self._extra_args = extra_args
        self._run = run

    @property
    def status(self) -> MemoryStatus:
        return self._run.status

    @property
    def skipped(self) -> bool:
        return any([each.skipped for each in self._run.denoisers])

    def denoise(self, x: Tensor, clock: ChunkClock) -> Tensor:
        self._run.clock = clock
        x0 = self._guider(x, x.new_full((self.batch,), clock.sigma), **self._extra_args)
        self._run.check_reached()
        if clock.frame_sigmas is not None:  # the guider knows only one noise level for all frames
            x0 = torch.lerp(x, x0, sigmas_for(clock, x) / clock.sigma)
        return x0

    def keep(self, x: Tensor, clock: ChunkClock) -> Tensor:
        return self.denoise(x, clock)  # the run commits after a clean pass

    def set_prompt(self, text: Tensor) -> None:
        """The positive conditioning's embeddings change; its masks, areas and the negative one stay."""
        for cond in self._guider.conds["positive"]:
            cond["model_conds"]["c_crossattn"] = CONDCrossAttn(text)
        self._run.change_prompt()

    def restart(self, first_chunk: int, new_prompt: bool) -> None:
        self._run.restart(first_chunk, new_prompt)

    def rewind(self, cut: Cut, next_chunk: int) -> bool:
        return any([each.rewind(cut, next_chunk) for each in self._run.denoisers])

    def forget(self, cut: Cut) -> None:
        for each in self._run.denoisers:
            each.forget(cut)

    def close(self) -> None:
        self._run.close()


class ARStreamingSampler(comfy.samplers.Sampler):
    """Samples chunk after chunk, under any guider.

    chunk_frames: latent frames denoised together.
    noise_rule: one of `NOISE_RULES`.
    total_frames: length of the video where the latents given to the guider are shorter, one chunk for example.
    observers: look at attention.
    consumer: gets every event as it comes.
    keep_latents: whether to return the video's latents or, to hold memory flat, only the last chunk's.
    keep_partial: whether after an interrupt the chunks finished so far, if there are any, are the result.
    stopped: called after such an interrupt.
    prompts: later prompts.
    source: latents [B, C, F, h, w] of a whole video to change, in the host's scale, where those given to the guider
        are only as long as a chunk. Noise levels below 1 say how much of it stays.
    anchor: for families with rollouts, see `stream_chunks`.
    context_noise, refine: as in `StreamConfig`.

    `said` holds the warnings of the last sampling: settings of other nodes that have no effect.
    """

    def __init__(
        self,
        chunk_frames: int,
        noise_rule: str = "portable",
        total_frames: int | None = None,
        observers: Sequence[AttentionObserver] = (),
        consumer: Callable[[Event], None] | None = None,
        keep_latents: bool = True,
        keep_partial: bool = True,
        stopped: Callable[[], None] | None = None,
        prompts: PromptPlan = NO_LATER_PROMPTS,
        source: Tensor | None = None,
        anchor: ImageAnchor | None = None,
        context_noise: float = 0.0,
        refine: bool = False,
    ):
        self.chunk_frames = chunk_frames
        self.noise_rule = noise_rule
        self.total_frames = total_frames
        self.observers = observers
        self.consumer = consumer
        self.keep_latents = keep_latents
        self.keep_partial = keep_partial
        self.stopped = stopped
        self.prompts = prompts
        self._running: PromptSchedule | None = None
        self.said: tuple[str, ...] = ()
        self.source = source
        self.anchor = anchor
        self.context_noise = context_noise
        self.refine = refine

    @property
    def own_levels(self) -> bool:
        """Whether a node of ours has planned the video, with the noise levels of the model's family."""
        return self.total_frames is not None

    def sample(
        self,
        model_wrap,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """As `comfy.samplers.Sampler`."""
        if denoise_mask is not None:
            raise DummyForcingError(
                "a noise mask cannot be used with AR streaming; remove the node that sets the mask"
            )
        options = extra_args["model_options"].setdefault("transformer_options", {})
        patch, levels = host.model_patch(model_wrap.model_patcher), tuple(sigmas.tolist())
        config = replace(self.stream_config(tuple(noise.shape), options, patch.loop, levels), skip=patch.skip)
        given = self._given_latents(model_wrap, options, latent_image, noise.shape[0], config)
        source = self._noise(noise, extra_args.get("seed") or 0, config)
        progress = _Progress(callback, config)
        with host.open_run(model_wrap, extra_args, self, sigmas, tuple(noise.shape)) as run:
            denoiser = GuiderDenoiser(model_wrap, extra_args, run, noise)
            self._running = self._schedule(model_wrap, config)
            events = stream_chunks(denoiser, config, source, given, self._running, self.anchor)
            try:
                chunks = self._collect(events, progress)
            finally:
                self._running, self.said = None, tuple(run.said)
        progress.finish(chunks)
        # Noise levels may end above 0: the host expects a result that it can noise again to the same latents.
        return model_wrap.inner_model.model_sampling.inverse_noise_scaling(sigmas[-1], torch.cat(chunks, dim=2))

    def _collect(self, events, progress: _Progress) -> list[Tensor]:
        chunks: list[Tensor] = []
        with contextlib.closing(events):
            try:
                for event in events:
                    if self.consumer is not None:
                        self.consumer(event)
                    if isinstance(event, ChunkDone):
                        if not self.keep_latents:
                            chunks.clear()
                        chunks.append(event.latents)
                        continue
                    if isinstance(event, PassDone):
                        progress.step(event)
                    comfy.model_management.throw_exception_if_processing_interrupted()
            except comfy.model_management.InterruptProcessingException:
                if not (chunks and self.keep_partial):
                    raise
                logger.info("interrupted: keeping the chunks finished so far")
                if self.stopped is not None:
                    self.stopped()
        return chunks

    def stream_config(
        self, shape: tuple[int, ...], options: dict[str, Any], loop: FamilyLoop, sigmas: tuple[float, ...]
    ) -> StreamConfig:
        """How latents of this shape are going to be sampled; options are those of the transformer."""
        if len(shape) != 5:
            raise DummyForcingError(f"the latent has the shape {list(shape)}; {host.NEEDED_LATENT}")
        if (self.total_frames or shape[2]) == 1:  # what the host makes of an 'Empty Latent Image'
            raise DummyForcingError(f"the latent is a single picture; {host.NEEDED_LATENT}")
        opening = host.start_latents(options)
        return StreamConfig(
            sigmas=sigmas,
            chunk_frames=self.chunk_frames,
            total_frames=self.total_frames or shape[2],
            latent_size=(shape[3], shape[4]),
            channels=shape[1],
            opening_frames=0 if opening is None else opening.shape[2],
            ragged=True,
            context_noise=self.context_noise,
            refine=self.refine,
            **loop.options(sigmas),
        )

    def _given_latents(
        self, guider, options: dict[str, Any], latent_image: Tensor | None, batch: int, config: StreamConfig
    ) -> GivenLatents:
        """The start of the video and the video to change, if the noise levels say that there is one."""
        opening, source = host.start_latents(options), latent_image
        if opening is not None:
            opening = guider.inner_model.process_latent_in(opening).expand(batch, -1, -1, -1, -1)
        if self.source is not None:
            source = guider.inner_model.process_latent_in(self.source).expand(batch, -1, -1, -1, -1)
        return GivenLatents(opening, source if config.sigmas[0] < 1 else None)

    def change_prompt(self, text: Tensor) -> bool:
        """Another prompt [1, L, text_dim] from the next chunk on; callable from any thread.

        Returns:
            whether a video is under way.
        """
        running = self._running
        if running is not None:
            running.change(text)
        return running is not None

    def _schedule(self, guider, config: StreamConfig) -> PromptSchedule:
        facts = model_facts(guider.model_patcher)
        first = guider.conds["positive"][0]["model_conds"]["c_crossattn"].cond
        check_text(first, host.causal_backbone(guider.model_patcher).text_dim)
        return self.prompts.schedule(first, config, family_switch(facts.family if facts else None))

    def _noise(self, noise: Tensor, seed: int, config: StreamConfig) -> NoiseSource:
        if self.noise_rule != "portable":
            return HostNoise(noise, seed, config)
        given = self.total_frames is None and self.source is None and config.sigmas[0] < 1
        return FreshNoise(SeededNoise(seed)) if given and not noise.any() else SeededNoise(seed)


class _Progress:
    """Feeds a ComfyUI sampler callback: passes over all chunks, and a preview that walks through the chunk."""

    def __init__(self, callback, config: StreamConfig):
        self._callback = callback
        self._total = config.total_passes
        self._step = 0

    def step(self, event: PassDone) -> None:
        if self._callback is None:
            return
        x0 = event.estimate[:, :, preview_frame(event) :]  # the host shows the first frame
        self._callback(min(self._step, self._total - 1), x0, x0, self._total)
        self._step += 1

    def finish(self, chunks: list[Tensor]) -> None:
        if self._callback is not None:
            video = torch.cat(chunks, dim=2)
            self._callback(self._total - 1, video, video, self._total)


def preview_frame(event: PassDone) -> int:
    """The frame of its chunk that a pass shows: the first pass shows the first frame, the last pass the last."""
    last = event.clock.frames - 1
    return round(last * event.clock.pass_index / max(1, event.passes - 1))
