"""Dummy Forcing: each head keeps only the context it uses (arXiv 2601.20499).

Until the classification chunk has been committed all heads are dense. In its clean pass an observer measures how
much attention every head pays to frame 0, to the other history and to the current chunk; dynamic head programming
turns the masses into roles; from then on

* a sink head reads frame 0 and the current chunk,
* a dummy head reads the last `packed_frames` frames and the current chunk (packed attention forcing: one frame
  makes its context as long as a sink head's, so both share one attention call),
* a neighbor head reads the last `local_context` chunks (without frame 0) and the current chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ...errors import DummyForcingError
from ...heads.forced import EXAMPLE, ForcedRoles, are_forced_roles, parse_forced_roles
from ...heads.roles import Cost
from ...video import VideoShape
from ..base import KeepMethod
from ..declaration import option

if TYPE_CHECKING:
    from torch import Tensor

    from ...clock import ChunkClock
    from ...heads.recorder import MassRecorder
    from .run import DummyForcingRun

Roles = tuple[tuple[int, ...], ...]
_LEAST_HISTORY = 2  # latent frames: frame 0 and another


def _chunks(text: str) -> int | None:
    """A number of chunks above 0, or None for "all"."""
    chunks = None if text == "all" else int(text)
    if chunks is not None and chunks < 1:
        raise ValueError(text)
    return chunks


@dataclass(frozen=True)
class DummyForcing(
    KeepMethod,
    name="dummy_forcing",
    title="Dummy Forcing",
    about="Heads are measured while the video begins; each then keeps only the frames that it looks at.",
):
    """Head-wise context by online classification, or by given roles.

    Attributes:
        dummy_ratio: share of all heads, over all layers, that become dummy heads.
        local_context: chunks that a neighbor head looks back; None gives neighbor and sink heads the whole
            history, so that only dummy heads are cut (with dummy_ratio 0 this is Dense).
        packed_frames: recent frames that a dummy head keeps; 0 leaves it no history.
        classification_chunk: heads are scored in this chunk's clean pass, and roles take effect once it is
            committed. A chunk whose only history is frame 0 cannot tell sink from neighbor heads, so the next one
            is scored instead.
        cost: "normalised" divides sink and neighbor masses by their sums over all heads (the authors' code),
            "paper" takes them as they are.
        row_fraction: share of the queries that the scores are estimated from.
        seed: of the row sampling.
        reclassify: "prompt" measures heads again after the history has been recomputed under a new prompt, "never"
            keeps the first roles. If the memory starts over under the same prompt, roles are kept either way.
        roles: head roles [layers][heads] from a head profile; None classifies online.
        forced_roles: heads whose role is set by hand, whatever was measured or given; see `program_heads`.

    Masses are averaged over the batch, so all items share one set of roles: every group stays one dense attention
    call and one store. Items with very different prompts are better run one after the other.
    """

    dummy_ratio: float = option(
        0.5,
        "Share of all heads that lose their history, those that need it least. 0.5 is the paper's choice; less is "
        "closer to the dense model, more is faster.",
        low=0.0,
        high=1.0,
        flag="dummy-ratio",
    )
    local_context: int | None = option(
        1,
        "Chunks that a neighbor head looks back. More remembers longer, for little memory: only neighbor heads "
        "hold them.",
        low=1,
        most=64,
        word="all",
        unit="chunks",
        flag="local-context",
        parse=_chunks,
    )
    packed_frames: int = option(
        1,
        "Recent latent frames that a dummy head keeps all the same; 1 costs nothing extra.",
        low=0,
        most=64,
        unit="latent frames",
        rare=True,
        flag="packed-frames",
    )
    classification_chunk: int = option(
        1,
        "The chunk (from 0) whose clean pass shows what heads look at. All heads are dense up to there. With a "
        "profile, its roles take effect after this chunk.",
        low=0,
        least=1,
        most=64,
        rare=True,
        flag="classification-chunk",
    )
    cost: Cost = option(
        "normalised",
        "How the loss of a head is weighed: normalised balances attention to the first frame against attention to "
        "recent ones, as the authors' code does; paper takes both as they are.",
        choices=("normalised", "paper"),
        rare=True,
        flag="cost",
    )
    row_fraction: float = 0.25
    seed: int = 0
    reclassify: Literal["prompt", "never"] = "prompt"
    roles: Roles | None = field(default=None, repr=False)
    forced_roles: ForcedRoles = option(
        (),
        "Heads whose role is set by hand, whatever was measured: layer:head=role, counted from 0, with commas "
        f"between, for example {EXAMPLE}. A click on the head map writes it for you.",
        rare=True,
        flag="force-roles",
        parse=parse_forced_roles,
        form="HEADS",
    )

    bench = ("dummy_ratio", "local_context")

    def __post_init__(self) -> None:
        super().__post_init__()
        first = 0 if self.roles is not None else 1
        checks = (
            (
                self.classification_chunk >= first,
                f"classification chunk is {self.classification_chunk}; expected at least {first}: the first chunk "
                "has no history to score",
            ),
            (0 < self.row_fraction <= 1, f"row fraction is {self.row_fraction}; expected a share above 0 up to 1"),
            (
                self.reclassify in ("prompt", "never"),
                f"reclassify is {self.reclassify!r}; expected 'prompt' or 'never'",
            ),
            (
                self.roles is None or all(isinstance(row, tuple) for row in self.roles),
                f"head roles are {self.roles!r}; expected a row of roles for each layer",
            ),
            (
                are_forced_roles(self.forced_roles),
                f"forced roles are {self.forced_roles!r}; expected (layer, head, role), sorted, each head once",
            ),
        )
        for valid, message in checks:
            if not valid:
                raise DummyForcingError(message)

    @property
    def keeps_all(self) -> bool:
        return self.local_context is None

    @property
    def needs_measurement(self) -> bool:
        return self.roles is None

    def begin(self, video: VideoShape) -> DummyForcingRun:
        from .run import DummyForcingRun

        return DummyForcingRun(self, video)

    def measured_in(self, video: VideoShape) -> int | None:
        return self.due_chunk(video, self.classification_chunk) if self.needs_measurement else None

    def due_chunk(self, video: VideoShape, chunk: int, known: bool = False) -> int:
        """The chunk after which roles take effect, as the memory counts; not before `chunk`.

        known: whether the roles exist already and only the context has to be complete.
        """
        if known:
            return max(chunk, video.first_chunk - 1)  # not before all of the context is there
        chunk = max(chunk, video.first_chunk)
        while video.start_frame(chunk) < _LEAST_HISTORY:
            chunk += 1
        return chunk

    def scorer(self, layers: int, wants: Callable[[ChunkClock], bool]) -> MassRecorder:
        from ...heads.recorder import MassRecorder

        return MassRecorder(layers, row_fraction=self.row_fraction, seed=self.seed, wants=wants)

    def program(self, masses: Tensor) -> Tensor:
        from ...heads.programming import program_heads

        return program_heads(masses, self.dummy_ratio, self.cost, self.forced_roles)

    def with_roles(self, roles: Sequence[Sequence[int]], chunk: int | None = None) -> DummyForcing:
        if not self.needs_measurement:
            return self
        chunk = self.classification_chunk if chunk is None else chunk
        return replace(self, roles=tuple(map(tuple, roles)), classification_chunk=chunk)

    def upper_bound(self, video: VideoShape) -> DummyForcing:
        """With a neighbor head, the role that holds the most frames, for every head that is not a dummy."""
        if self.roles is not None:
            return self
        import torch

        all_neighbors = torch.tensor([0.0, 1.0, 0.0]).expand(video.layers, video.heads, 3)
        return self.with_roles(self.program(all_neighbors).tolist(), self.measured_in(video))

    def longest_history(self, video: VideoShape) -> int | None:
        if self.local_context is None:
            return None
        return max(self.local_context * video.chunk_frames, self.packed_frames, 1)

    def describe(self) -> str:
        if self.local_context is None:
            back = "look back at everything"
        else:
            back = f"look back {self.local_context} chunk{'s' if self.local_context > 1 else ''}"
        return f"Dummy Forcing, {self.dummy_ratio:.0%} dummy heads, neighbor heads {back}"
