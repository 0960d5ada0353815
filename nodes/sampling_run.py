"""The memories of one sampling in ComfyUI: one per conditioning, made in its first pass, freed at the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..core.errors import DummyForcingError
from ..core.memory.clock import ChunkClock
from ..core.memory.config import VideoLayout, build_memory
from ..core.memory.keep import KeepPolicy
from ..core.memory.memory import AttentionObserver, Cut, Memory, MemoryStatus
from ..core.stream.broken import check_chunk
from ..core.stream.config import up_to_whole_chunks
from ..core.stream.denoiser import timesteps_for
from ..core.stream.pass_skip import PassSkipRun
from ..core.stream.prompts import check_text
from ..core.stream.sigmas import TRAINING_STEPS
from ..core.wan.forward import Home, PromptKV, encode_prompt, forward_chunk
from ..core.wan.shape import PATCH
from ..kernels import Dense
from .model_patch import ModelPatch

logger = logging.getLogger("dummy_forcing")

NOT_REACHED = (
    "another node has replaced the model's forward and does not hand on to Dummy Forcing's; remove that node, or "
    "put it before the Dummy Forcing nodes"
)
_NOT_RUN = (
    "the model was not run at all: another node answers in its place (a cache of passes, a guider of its own); "
    "remove that node"
)
_LEFT_OUT = (
    "a prompt took part in some passes only, so that nothing is remembered of the chunks before under it; another "
    "node leaves it out, such as CFG Override for a part of the steps: let CFG be the same in all passes, or "
    "remove that node"
)
_TWICE = (
    "Another node runs the model once more in a pass (guidance that skips layers or changes attention, such as "
    "SkipLayerGuidanceDiT). An AR model takes no patches of its blocks, so that this only costs time; remove that "
    "node."
)
NOTHING_HELD = MemoryStatus(bytes=0, history_frames=0.0, roles=None, masses=None)


@dataclass(frozen=True)
class ChunkGrid:
    """How a sampler cuts a video: latent frames of the first chunk, of the others, of the whole that one memory
    is for, and of the longest pass where it takes several chunks at once."""

    first_frames: int
    chunk_frames: int
    total_frames: int | None
    pass_frames: int | None = None

    @property
    def whole_frames(self) -> int | None:
        """The total, as if the last chunk were a whole one: what must fit into a memory."""
        return up_to_whole_chunks(self.total_frames, self.first_frames, self.chunk_frames)

    def layout(self, batch: int, tokens: tuple[int, int], dtype: torch.dtype, device: torch.device) -> VideoLayout:
        """What a memory must know; tokens are the rows and columns of a frame's."""
        return VideoLayout(
            batch=batch,
            tokens_per_frame=math.prod(tokens),
            chunk_frames=self.chunk_frames,
            total_frames=self.whole_frames,
            dtype=dtype,
            device=device,
            first_frames=self.first_frames,
            pass_frames=self.pass_frames,
            grid=tokens,
        )


@dataclass(frozen=True, eq=False)
class HeadsFound:
    """Heads that were measured while a video was made: fp32 masses [layers, heads, 3], int64 roles [layers, heads].

    keep: the policy that measured them. The rest says of which passes.
    """

    masses: Tensor
    roles: Tensor
    keep: KeepPolicy
    chunk_frames: int
    tokens_per_frame: int
    text_tokens: int


class SamplingRun:
    """State of one sampling. ComfyUI may batch the conditional and the unconditional pass or run them apart;
    either way each has a memory of its own here.

    A sampler that has a clock sets `clock` before every pass. For the host's own sampler it is derived.
    """

    def __init__(
        self,
        patch: ModelPatch,
        grid: ChunkGrid,
        passes: int,
        observers: Sequence[AttentionObserver] = (),
        heads_found: Callable[[HeadsFound], None] | None = None,
    ):
        """passes: denoising passes of a chunk; heads_found: told when heads have been measured, every time."""
        self.patch = patch
        self.grid = grid
        self.clock: ChunkClock | None = None
        self._passes = passes
        self._observers = observers
        self._heads_found = heads_found
        self._told: Tensor | None = None  # the masses told last
        self.applied = self._reached = False
        self.said: list[str] = []
        self._branches: dict[Hashable, _Branch] = {}

    def say(self, sentence: str) -> None:
        """Warn in the log, once in a sampling; `said` is for reports."""
        if sentence not in self.said:
            self.said.append(sentence)
            logger.warning("%s", sentence)

    def check_reached(self) -> None:
        """Raises DummyForcingError where no pass has come here yet; `applied` tells why."""
        if not self._reached:
            raise DummyForcingError(NOT_REACHED if self.applied else _NOT_RUN)

    @property
    def status(self) -> MemoryStatus:
        """What is held now: bytes of all conditionings, the rest of the first."""
        found = [branch.memory.status for branch in self._branches.values()]
        return replace(found[0], bytes=sum(each.bytes for each in found)) if found else NOTHING_HELD

    @property
    def skipped(self) -> bool:
        """Whether the last pass was skipped, the same for all conditionings."""
        return any(branch.skip is not None and branch.skip.skipped for branch in self._branches.values())

    def flow(
        self,
        backbone: nn.Module,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        keys: Sequence[Hashable],
        start_frame: int | None,
        home: Home,
    ) -> Tensor:
        """One pass of the host: the flow of x [N * B, C, F, h, w], h and w even, of N conditionings.

        Args:
            timestep: [N * B] in [0, 1000].
            context: text-encoder output [N * B, L, text_dim] in the dtype of x.
            keys: what tells the N conditionings apart, the same in every pass.
            start_frame: where the chunk begins; None if `clock` says it.
        """
        parts = zip(keys, *(tensor.chunk(len(keys)) for tensor in (x, timestep, context)), strict=True)
        return torch.cat([self._pass(backbone, *part, start_frame, home) for part in parts])

    def change_prompt(self) -> None:
        """The next pass brings other text embeddings: encode them, keep the memories."""
        for branch in self._branches.values():
            branch.prompt = None

    def restart(self, first_chunk: int, new_prompt: bool) -> None:
        """As `Memory.restart`, for all conditionings."""
        for branch in self._branches.values():
            branch.remembered = 0
            branch.memory.restart(first_chunk, new_prompt=new_prompt)

    def rewind(self, cut: Cut, next_chunk: int) -> bool:
        """As `Memory.rewind`, for all conditionings; they are alike, so one answer holds for all."""
        return any([branch.memory.rewind(cut, next_chunk) for branch in self._branches.values()])

    def forget(self, cut: Cut) -> None:
        """As `Memory.forget`, for all conditionings."""
        for branch in self._branches.values():
            branch.memory.forget(cut)

    def close(self) -> None:
        """Free every key, value and residual."""
        self._report_skipped()
        if (selected := self.status.selected) is not None:
            logger.info("sparse attention: %s", selected.describe())
        for branch in self._branches.values():
            branch.close()
        self._branches.clear()

    def _pass(self, backbone, key, x, timestep, context, start_frame, home: Home) -> Tensor:
        branch = self._branches.get(key)
        if branch is None:
            branch = self._branches[key] = self._begin(backbone, x, context)
        branch.attention.current = home.attention
        if branch.prompt is None:
            branch.prompt = encode_prompt(backbone, context)
        clock = self.clock or branch.derive_clock(x, timestep, start_frame)
        if clock is branch.seen:
            self.say(_TWICE)
            if clock.clean:  # it has been remembered
                return branch.flow
        elif not clock.clean and branch.remembered != clock.memory_frame:
            raise DummyForcingError(_LEFT_OUT)
        if clock.clean and self.clock is None:  # our own loop looks itself
            check_chunk(x, clock.chunk)
        if clock.frame_sigmas is not None:
            timestep = timesteps_for(clock, x)
        home = replace(home, attention=branch.memory.prompt_attention(home.attention, clock))
        skip = None if clock is branch.seen else branch.skip
        flow = forward_chunk(backbone, x, timestep, branch.prompt, branch.memory, clock, home, skip)
        branch.seen = clock
        if clock.clean:
            branch.memory.commit(clock)
            branch.remembered, branch.flow = clock.memory_frame + clock.frames, flow
            self._tell_heads(x, context)
        return flow

    def _tell_heads(self, x: Tensor, context: Tensor) -> None:
        """Heads that have been measured since this was called last."""
        status = self.status
        if self._heads_found is None or status.masses is None or status.masses is self._told:
            return
        self._told = status.masses
        sizes = self.grid.chunk_frames, _tokens_per_frame(x), context.shape[1]
        self._heads_found(HeadsFound(status.masses, status.roles, self.patch.memory.keep, *sizes))

    def _begin(self, backbone: nn.Module, x: Tensor, context: Tensor) -> _Branch:
        self._reached = True
        check_text(context, backbone.text_dim)
        prompt = encode_prompt(backbone, context)
        skip = self.patch.skip
        if skip is not None:
            skip.check(self._passes)
        layout = self.grid.layout(x.shape[0], _token_grid(x), x.dtype, x.device)
        observers = () if self._branches else self._observers  # the first conditioning is the positive one
        attention = _PassAttention()
        memory = build_memory(self.patch.memory, backbone, layout, observers, attention)
        run = None if skip is None else PassSkipRun(skip)
        return _Branch(memory, prompt, attention, run)

    def _report_skipped(self) -> None:
        runs = [branch.skip for branch in self._branches.values() if branch.skip is not None]
        if runs:
            done, skipped = sum(run.passes for run in runs), sum(run.passes_skipped for run in runs)
            logger.info("pass skipping: %d of %d passes skipped, clean passes included in the count", skipped, done)


class _PassAttention:
    """The host's attention with the transformer options of the pass under way, which other packs look at."""

    current: Dense

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.current(q, k, v)


@dataclass
class _Branch:
    """One conditioning under way.

    prompt: None where it has to be encoded anew. last: the clock that was derived last. seen: the pass that came
    last. remembered: latent frames committed, as the memory counts. flow: of the clean pass that came last.
    """

    memory: Memory
    prompt: PromptKV | None
    attention: _PassAttention
    skip: PassSkipRun | None = None
    last: ChunkClock | None = None
    seen: ChunkClock | None = None
    remembered: int = 0
    flow: Tensor | None = None

    def derive_clock(self, x: Tensor, timestep: Tensor, start_frame: int) -> ChunkClock:
        """The clock of a sampler that has none: a chunk ends where the start frame moves on, t = 0 is clean."""
        last = self.last
        same = last is not None and last.start_frame == start_frame
        sigma = float(timestep[0]) / TRAINING_STEPS
        if same and last.sigma == sigma:
            return last  # the same pass once more
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

    def close(self) -> None:
        """Free what is held."""
        self.memory.close()
        if self.skip is not None:
            self.skip.close()


def _tokens_per_frame(x: Tensor) -> int:
    return math.prod(_token_grid(x))


def _token_grid(x: Tensor) -> tuple[int, int]:
    return x.shape[-2] // PATCH, x.shape[-1] // PATCH
