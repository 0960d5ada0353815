"""The common loop: denoise a chunk in a few passes, make a clean pass, commit, go on.

Self-Forcing, Causal Forcing, LongLive and their kin (docs/references.md, "Self-Forcing's loop"); with rollouts also
CausVid and Krea Realtime, with a change of prompt LongLive's recache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..clock import ChunkClock
from ..memory.memory import Cut
from .events import ContextComputed, Event, PassDone
from .given_latents import GivenLatents
from .passes import Passes
from .past import PastLatents
from .prompts import PromptSource
from .rollout import ImageAnchor


class CommonLoop:
    """One chunk after the other, all frames of a chunk at the same noise level.

    anchor: encodes the first context frame of a rollout as an image; None takes the latents as they are.
    """

    def __init__(self, passes: Passes, given: GivenLatents, prompts: PromptSource, anchor: ImageAnchor | None):
        self._passes = passes
        self._denoiser = passes.denoiser
        self._config = passes.config
        self._given = given
        self._prompts = prompts
        self._anchor = anchor
        self._past = PastLatents(self._frames_needed_again())

    def run(self) -> Iterator[Event]:
        """The whole video."""
        origin = 0
        for clock, following in itertools.pairwise(itertools.chain(self._config.chunks(), [None])):
            given = self._given.opening_of(clock)
            new_prompt = given is None and self._change_prompt(clock)
            if clock.origin_frame != origin:
                origin = clock.origin_frame
                yield from self._start_over(clock, new_prompt)
            elif new_prompt and clock.memory_frame > 0:
                yield from self._switch(clock)
            keeps = following is None or following.origin_frame == origin
            yield from self._chunk(clock, given, keeps)

    def _chunk(self, clock: ChunkClock, given: Tensor | None, keeps: bool) -> Iterator[Event]:
        """All passes of the chunk whose first pass is `clock`; the clean pass only if its keys will be read."""
        if given is None:
            x, sigmas = self._begin(clock), self._config.sigmas_at(clock.chunk)
        else:
            x, sigmas = self._passes.to_device(given), (0.0,)
        passes = len(sigmas) if keeps else len(sigmas) - 1
        for index, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
            clock = replace(clock, pass_index=index, sigma=sigma)
            x0 = self._passes.denoise(x, clock)
            x = self._passes.renoise(x0, clock, after)
            yield PassDone(clock, passes, x0, self._denoiser.skipped)
        if keeps:
            clock = self._clean(clock, clock, index=len(sigmas) - 1)
            x = self._keep(x, clock, refine=self._config.refine and given is None)
            yield PassDone(clock, passes, x, self._denoiser.skipped)
        self._past.add(clock, x)
        yield from self._passes.finish(clock, x)

    def _begin(self, clock: ChunkClock) -> Tensor:
        """The chunk's latents before its first pass: noise, mixed with the source if there is one."""
        noise, source = self._passes.draw(clock, 0), self._given.source_of(clock)
        if source is None:
            return noise
        return torch.lerp(source.to(noise), noise, self._config.sigmas_at(clock.chunk)[0])

    def _keep(self, x: Tensor, clock: ChunkClock, refine: bool = False) -> Tensor:
        """The clean pass, at the level of the context noise; with `refine`, its prediction is the result."""
        noisy = self._passes.renoise(x, clock, clock.sigma, clock.pass_index)
        predicted = self._passes.keep(noisy, clock)
        return predicted if refine else x

    def _change_prompt(self, clock: ChunkClock) -> bool:
        """Ask for the prompt of a chunk; returns whether a new prompt begins."""
        change = self._prompts.before(clock)
        if change is None:
            return False
        self._passes.set_prompt(change.text)
        return change.starts

    def _switch(self, clock: ChunkClock) -> Iterator[Event]:
        """What a new prompt does to the memory."""
        switch = self._prompts.switch
        if switch.method == "recache":
            yield from self._recache(clock, switch.recache_frames)
        elif switch.method == "flush":
            begin = max(0, clock.memory_frame - switch.flush_frames)
            self._passes.run(self._denoiser.forget, Cut(opening=1, begin=begin))

    def _recache(self, clock: ChunkClock, frames: int) -> Iterator[Event]:
        """Recompute the newest frames' keys and values, and the first chunk's if they have been lost."""
        origin = clock.origin_frame
        first = self._past.first if origin == 0 else self._past.since(origin)[0]
        opening = first.clock.end_frame
        again = self._past.since(max(opening, clock.start_frame - frames))
        begin = again[0].clock.start_frame if again else opening
        cut = Cut(opening - origin, begin - origin)
        if self._passes.run(self._denoiser.rewind, cut, clock.memory_chunk):
            again.insert(0, first)
        for chunk in again:
            yield from self._compute(chunk.latents, chunk.clock, clock)

    def _start_over(self, clock: ChunkClock, new_prompt: bool) -> Iterator[Event]:
        """Begin a rollout: an empty memory and the context's clean passes."""
        self._passes.run(self._denoiser.restart, clock.memory_chunk, new_prompt)
        context = self._past.since(clock.origin_frame)
        if context and self._anchor is not None:
            self._past.replace(clock.origin_frame, self._anchor.apply(context[0].latents))
        for chunk in self._past.since(clock.origin_frame):
            yield from self._compute(chunk.latents, chunk.clock, clock)

    def _compute(self, latents: Tensor, place: ChunkClock, now: ChunkClock) -> Iterator[Event]:
        """Run finished latents through the clean pass once more."""
        clock = self._clean(place, now, index=len(self._config.sigmas_at(place.chunk)) - 1)
        self._keep(latents, clock)
        yield ContextComputed(clock)

    def _clean(self, place: ChunkClock, now: ChunkClock, index: int) -> ChunkClock:
        """The clock of a chunk's clean pass, counted in the rollout of another chunk."""
        return replace(
            place,
            pass_index=index,
            sigma=self._config.context_noise,
            clean=True,
            origin_chunk=now.origin_chunk,
            origin_frame=now.origin_frame,
        )

    def _frames_needed_again(self) -> int:
        rollout = self._config.rollout
        return max(self._prompts.switch.recache_frames, rollout.frames if rollout else 1)
