"""The memories of one sampling in ComfyUI: one per conditioning, made in its first pass, freed at the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...core.broken import check_chunk
from ...core.clock import ChunkClock
from ...core.errors import DummyForcingError
from ...core.memory.memory import AttentionObserver, MemoryStatus
from ...core.methods.base import KeepMethod
from ...core.stream.denoiser import BackboneDenoiser
from ...core.stream.prompts import check_text
from ...core.stream.sigmas import TRAINING_STEPS
from ...core.video import VideoShape, token_grid
from ...core.wan.forward import Runtime
from ..patches.model_patch import ModelPatch

logger = logging.getLogger("dummy_forcing")

NOT_REACHED = (
    "another node has replaced the model's forward and does not call Dummy Forcing's; remove that node, or put "
    "it before the Dummy Forcing nodes"
)
_NOT_RUN = (
    "the model was not run at all: another node answers in its place (a cache of passes, a guider of its own); "
    "remove that node"
)
_LEFT_OUT = (
    "a prompt took part in some passes only, so that its memory lacks the chunks before; another node leaves the "
    "prompt out, such as CFG Override for a part of the steps: let CFG be the same in all passes, or remove that "
    "node"
)
_TWICE = (
    "Another node runs the model once more in a pass (guidance that skips layers or changes attention, such as "
    "SkipLayerGuidanceDiT). An AR model takes no patches of its blocks, so that this only costs time; remove that "
    "node."
)
NOTHING_HELD = MemoryStatus(bytes=0, history_frames=0.0, roles=None, masses=None)


@dataclass(frozen=True, eq=False)
class HeadsFound:
    """Heads that were measured while a video was made: fp32 masses [layers, heads, 3], int64 roles [layers, heads].

    keep: the method that measured them. The other fields describe the passes in which it measured.
    """

    masses: Tensor
    roles: Tensor
    keep: KeepMethod
    chunk_frames: int
    tokens_per_frame: int
    text_tokens: int


class SamplingRun:
    """State of one sampling. ComfyUI may batch the conditional and the unconditional pass or run them separately;
    here each has a memory of its own either way.

    A sampler that has a clock sets `clock` before every pass. For the host's own sampler it is derived.
    """

    def __init__(
        self,
        patch: ModelPatch,
        video: VideoShape,
        passes: int,
        observers: Sequence[AttentionObserver] = (),
        heads_found: Callable[[HeadsFound], None] | None = None,
    ):
        """
        Args:
            video: what will be sampled; batch, grid, dtype and device are replaced by those of the passes.
            passes: denoising passes of a chunk.
            heads_found: called every time heads have been measured.
        """
        self.patch = patch
        self._video = video
        self.clock: ChunkClock | None = None
        self._passes = passes
        self._observers = observers
        self._heads_found = heads_found
        self._told: Tensor | None = None  # the masses last passed to heads_found
        self.applied = self._reached = False
        self.said: list[str] = []
        self._branches: dict[Hashable, _Branch] = {}

    def say(self, sentence: str) -> None:
        """Warn in the log, once per sampling; `said` collects the sentences for reports."""
        if sentence not in self.said:
            self.said.append(sentence)
            logger.warning("%s", sentence)

    def check_reached(self) -> None:
        """Raises DummyForcingError if no pass has reached this run; `applied` tells why."""
        if not self._reached:
            raise DummyForcingError(NOT_REACHED if self.applied else _NOT_RUN)

    @property
    def status(self) -> MemoryStatus:
        """What is held now: bytes summed over conditionings, everything else from the first one."""
        found = [each.status for each in self.denoisers]
        return replace(found[0], bytes=sum(each.bytes for each in found)) if found else NOTHING_HELD

    @property
    def denoisers(self) -> list[BackboneDenoiser]:
        """One for each conditioning that has had a pass; they differ only in their prompt."""
        return [branch.denoiser for branch in self._branches.values()]

    def flow(
        self,
        backbone: nn.Module,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        keys: Sequence[Hashable],
        start_frame: int | None,
        runtime: Runtime,
    ) -> Tensor:
        """One pass of the host: the flow of x [N * B, C, F, h, w], h and w even, of N conditionings.

        Args:
            timestep: [N * B] in [0, 1000].
            context: text-encoder output [N * B, L, text_dim] in the dtype of x.
            keys: identify the N conditionings, the same in every pass.
            start_frame: where the chunk begins; None if `clock` tells it.
        """
        parts = zip(keys, *(tensor.chunk(len(keys)) for tensor in (x, timestep, context)), strict=True)
        return torch.cat([self._pass(backbone, *part, start_frame, runtime) for part in parts])

    def change_prompt(self) -> None:
        """Note that the next pass brings other text embeddings."""
        for branch in self._branches.values():
            branch.prompt_is_old = True

    def restart(self, first_chunk: int, new_prompt: bool) -> None:
        """As `Denoiser.restart`, for all conditionings."""
        for branch in self._branches.values():
            branch.remembered = 0
            branch.denoiser.restart(first_chunk, new_prompt)

    def close(self) -> None:
        """Free every key, value and residual."""
        self._report_skipped()
        if (selected := self.status.selected) is not None:
            logger.info("sparse attention: %s", selected.describe())
        for denoiser in self.denoisers:
            denoiser.close()
        self._branches.clear()

    def _pass(self, backbone, key, x, timestep, context, start_frame, runtime: Runtime) -> Tensor:
        branch = self._branches.get(key)
        if branch is None:
            branch = self._branches[key] = self._begin(backbone, x, context)
        elif branch.prompt_is_old:
            branch.denoiser.set_prompt(context)
        branch.prompt_is_old = False
        clock = self.clock or branch.derive_clock(x, timestep, start_frame)
        again = clock is branch.seen
        if again:
            self.say(_TWICE)
            if clock.clean:  # already committed: a second commit would store the chunk twice
                return branch.flow
        elif not clock.clean and branch.remembered != clock.memory_frame:
            raise DummyForcingError(_LEFT_OUT)
        if clock.clean and self.clock is None:  # our own loop makes this check itself
            check_chunk(x, clock.chunk)
        flow = branch.denoiser.flow(x, clock, timestep, runtime, may_skip=not again)
        branch.seen = clock
        if clock.clean:
            branch.denoiser.commit(clock)
            branch.remembered, branch.flow = clock.memory_frame + clock.frames, flow
            self._tell_heads(x, context)
        return flow

    def _tell_heads(self, x: Tensor, context: Tensor) -> None:
        """Report heads that have been measured since the last call."""
        status = self.status
        if self._heads_found is None or status.masses is None or status.masses is self._told:
            return
        self._told = status.masses
        sizes = self._video.chunk_frames, _tokens_per_frame(x), context.shape[1]
        self._heads_found(HeadsFound(status.masses, status.roles, self.patch.memory.keep, *sizes))

    def _begin(self, backbone: nn.Module, x: Tensor, context: Tensor) -> _Branch:
        self._reached = True
        check_text(context, backbone.text_dim)
        if self.patch.skip is not None:
            self.patch.skip.check_passes(self._passes)
        grid = token_grid(*x.shape[-2:])
        video = replace(self._video, batch=x.shape[0], grid=grid, dtype=x.dtype, device=x.device)
        observers = () if self._branches else self._observers  # the first conditioning is the positive one
        return _Branch(
            BackboneDenoiser(backbone, context, self.patch.memory, video, observers, skip=self.patch.skip)
        )

    def _report_skipped(self) -> None:
        runs = [each.skip for each in self.denoisers if each.skip is not None]
        if runs:
            done, skipped = sum(run.passes for run in runs), sum(run.passes_skipped for run in runs)
            logger.info("pass skipping: %d of %d passes skipped, clean passes included in the count", skipped, done)


@dataclass
class _Branch:
    """One conditioning of a running sampling.

    prompt_is_old: whether the next pass brings another prompt. last: the clock derived last. seen: the clock of the
    last pass. remembered: latent frames committed, counted from the memory's beginning. flow: of the last clean
    pass.
    """

    denoiser: BackboneDenoiser
    prompt_is_old: bool = False
    last: ChunkClock | None = None
    seen: ChunkClock | None = None
    remembered: int = 0
    flow: Tensor | None = None

    def derive_clock(self, x: Tensor, timestep: Tensor, start_frame: int) -> ChunkClock:
        """The clock of a sampler that has none: a new start frame begins a new chunk, t = 0 is the clean pass."""
        last = self.last
        same = last is not None and last.start_frame == start_frame
        sigma = float(timestep[0]) / TRAINING_STEPS
        if same and last.sigma == sigma:
            return last  # the same object, which tells `_pass` that the pass is repeated
        self.last = ChunkClock(
            chunk=0 if last is None else last.chunk + (not same),
            start_frame=start_frame,
            frames=x.shape[2],
            tokens_per_frame=_tokens_per_frame(x),
            pass_index=last.pass_index + 1 if same else 0,
            sigma=sigma,
            clean=sigma == 0,
        )
        return self.last


def _tokens_per_frame(x: Tensor) -> int:
    return math.prod(token_grid(*x.shape[-2:]))
