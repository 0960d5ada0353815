"""Rolling Forcing: several chunks at once, each a noise level behind the one before it.

A window with as many chunks as there are noise levels moves over the video by one chunk at a time. One joint pass
predicts all its chunks, each at its own level. The oldest has then been through all levels and is done; the others
get fresh noise at their next level, and a new chunk of pure noise enters. At both ends of the video the window is
shorter. Only the clean pass over a finished chunk writes keys and values.

Source: code of TencentARC/RollingForcing, pipeline/rolling_forcing_inference.py (docs/references.md, "Rolling
Forcing's joint window").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..clock import ChunkClock
from ..errors import DummyForcingError
from .events import Event, PassDone
from .given_latents import GivenLatents
from .passes import Passes
from .prompts import ROLLING_METHODS, PromptSource


class RollingLoop:
    """Chunks in flight, oldest first, each with the index of its next noise level."""

    def __init__(self, passes: Passes, given: GivenLatents, prompts: PromptSource):
        if prompts.switch.method not in ROLLING_METHODS:
            raise DummyForcingError(
                f"a prompt switch by {prompts.switch.method!r} needs chunks that are done one by one, Rolling "
                f"Forcing has several under way; use {' or '.join(ROLLING_METHODS)}"
            )
        self._passes = passes
        self._config = passes.config
        self._given = given
        self._prompts = prompts
        self._window: list[tuple[ChunkClock, Tensor, int]] = []

    def run(self) -> Iterator[Event]:
        """The whole video."""
        for clock in self._config.chunks():
            given = self._given.opening_of(clock)
            if given is not None:
                yield from self._finish(clock, self._passes.to_device(given), passes=1)
                continue
            change = self._prompts.before(clock)
            if change is not None:
                self._passes.set_prompt(change.text)
            self._window.append((clock, self._passes.draw(clock, 0), 0))
            yield from self._roll()
        while self._window:
            yield from self._roll()

    def _roll(self) -> Iterator[Event]:
        """One joint pass; when the oldest chunk has been through all levels, it is done."""
        clock, estimate = self._joint_pass()
        yield PassDone(clock, len(self._config.sigmas), estimate)
        parts = estimate.split([each.frames for each, _, _ in self._window], dim=2)
        self._window = [
            (each, self._passes.renoise(part, each, self._config.sigmas[level + 1], level + 1), level + 1)
            for (each, _, level), part in zip(self._window, parts, strict=True)
        ]
        oldest, x, level = self._window[0]
        if self._config.sigmas[level] == 0:
            self._window.pop(0)
            yield from self._finish(oldest, x, passes=len(self._config.sigmas))

    def _joint_pass(self) -> tuple[ChunkClock, Tensor]:
        first, _, oldest_level = self._window[0]
        levels = [self._config.sigmas[level] for clock, _, level in self._window for _ in range(clock.frames)]
        clock = replace(
            first,
            frames=len(levels),
            pass_index=oldest_level,
            sigma=max(levels),
            frame_sigmas=tuple(levels),
        )
        return clock, self._passes.denoise(torch.cat([x for _, x, _ in self._window], dim=2), clock)

    def _finish(self, clock: ChunkClock, x: Tensor, passes: int) -> Iterator[Event]:
        clock = replace(clock, pass_index=passes - 1, sigma=self._config.context_noise, clean=True)
        self._passes.keep(self._passes.renoise(x, clock, clock.sigma, clock.pass_index), clock)
        yield PassDone(clock, passes, x)
        yield from self._passes.finish(clock, x)
