"""Light Forcing: queries read the frames and the blocks of keys that matter to them (arXiv 2602.04789).

Chunk-aware growth says how many blocks of keys a block of queries reads (`growth`); hierarchical sparse attention
says which (`block_choice`). The first chunk reads everything. Nothing is forgotten: which frames are kept is
decided by the keep slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...clock import ChunkClock
from ...errors import DummyForcingError
from ...memory.retention import Retention
from ...video import VideoShape
from ..base import SelectMethod, parse_value
from ..declaration import option
from .growth import ChunkGrowth

if TYPE_CHECKING:
    from ...memory_config import MemoryConfig
    from .block_choice import BlockChoice
    from .run import LightForcingRun

_BASE_ABOVE = 0.1  # the authors' base is above their sparsity by this much in all of their settings
_HIGHEST_BASE = 0.99


@dataclass(frozen=True)
class LightForcing(
    SelectMethod,
    name="light_forcing",
    title="Light Forcing",
    about="Every block of queries reads the frames and blocks of keys that fit it, fewer with every chunk.",
):
    """Hierarchical sparse attention with chunk-aware growth.

    The defaults are for models that were not tuned for it. The authors' quality (VBench 84.5, where the same
    sparsity without tuning has 73.0 in its simplest form) needs their weights: `tuned`, `tuned_long`.

    Attributes:
        sparsity: share of the keys that is not read, mean over the video, from 0 to below 1; 0 reads everything.
        base: the value that sparsity approaches as the video goes on; None is 0.1 above `sparsity`.
        keep_frames: past frames that a block of queries may read if there are more: `sink` opening frames, the
            `near` newest ones, and those of the others that fit it best; more of the latter if the blocks to be
            read fill more frames. Heads that never hold more than this read all they have.
        block_q, block_k: most queries and keys of a block.
        dense_first_pass, dense_clean_pass: read everything in the first denoising pass of a chunk, in the pass that
            writes the cache.
        keep_current: always read the whole current chunk, and apply sparsity to the history. Otherwise blocks of
            the current chunk are chosen like any others.
    """

    sparsity: float = option(
        0.7,
        "Share of the keys that is not read, mean over the video: early chunks are denser, the first is dense. 0 "
        "reads everything.",
        low=0.0,
        high=1.0,
        below=True,
        most=0.98,
        flag="sparsity",
        resets=("base",),
    )
    base: float | None = option(
        None,
        "What sparsity tends to as the video goes on. 0 for 0.1 above the sparsity, as the authors do.",
        low=0.0,
        high=1.0,
        below=True,
        most=0.99,
        rare=True,
        flag="",
    )
    keep_frames: int = option(
        6,
        "Past latent frames that a block of queries may read: sink, near and those that fit best. Heads that hold "
        "no more than this read all of them.",
        low=0,
        most=1024,
        rare=True,
        flag="",
    )
    sink: int = option(
        1, "First latent frames of the video that may always be read.", low=0, most=1024, rare=True, flag=""
    )
    near: int = option(2, "Latest latent frames that may always be read.", low=0, most=1024, rare=True, flag="")
    block_q: int = option(
        128,
        "Most tokens of a block, of queries and of keys. Smaller ones choose more finely and cost more; the toy "
        "world, with 36 tokens a frame, needs about 12. By default 128 and 64.",
        low=1,
        most=1024,
        rare=True,
        input="block_size",
        flag="block-size",
        also=("block_k",),
    )
    block_k: int = 64
    dense_first_pass: bool = option(
        True, "Read everything in the first pass of a chunk, which lays out the picture.", rare=True, flag=""
    )
    dense_clean_pass: bool = option(
        True,
        "Read everything in the pass whose keys and values are kept, so that errors do not add up.",
        rare=True,
        flag="",
    )
    keep_current: bool = option(
        False,
        "Always read the whole current chunk; sparsity is then that of the history.",
        rare=True,
        flag="",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        least = self.sink + self.near
        checks = (
            (
                self.base is None or self.sparsity <= self.base,
                f"base is {self.base} for a sparsity of {self.sparsity}; expected at least the sparsity and less "
                "than 1, or none for 0.1 above it",
            ),
            (
                self.keep_frames >= least,
                f"keep frames is {self.keep_frames}, but sink ({self.sink}) and near ({self.near}) frames are "
                f"among them; raise keep frames to at least {least} or lower sink and near",
            ),
            (self.block_k >= 1, f"blocks of {self.block_k} keys; expected at least 1 (64)"),
        )
        for valid, message in checks:
            if not valid:
                raise DummyForcingError(message)

    @classmethod
    def tuned(cls) -> LightForcing:
        """The authors' values for clips of up to 5 s, for weights that were tuned with them."""
        return cls(0.88, 0.98, 6, 1, 2, dense_first_pass=False, dense_clean_pass=False)

    @classmethod
    def tuned_long(cls) -> LightForcing:
        """The authors' values for longer videos (with a window of 12), for weights that were tuned with them."""
        return cls(0.85, 0.95, 3, 1, 1, dense_first_pass=False, dense_clean_pass=False)

    @classmethod
    def from_bench(cls, values: Sequence[str]) -> LightForcing:
        if len(values) > 2:
            raise ValueError(values)
        if len(values) > 1 and values[1] not in PRESETS:
            raise ValueError(values[1])
        found = {"sparsity": parse_value(cls, "sparsity", values[0])} if values else {}
        return cls.from_options(found, values[1] if len(values) > 1 else None)

    @classmethod
    def bench_syntax(cls) -> str:
        return "light-forcing[:SPARSITY[:PRESET]]"

    @property
    def final_base(self) -> float:
        """The base in force, also where none was given."""
        if self.base is not None:
            return self.base
        return max(self.sparsity, min(self.sparsity + _BASE_ABOVE, _HIGHEST_BASE))

    def check(self, config: MemoryConfig) -> None:
        """Raise DummyForcingError if frames are not stored one by one."""
        if not config.merge.holds_frames:
            raise DummyForcingError(
                "Light Forcing chooses among frames, but TempCache merges tokens of several into one; remove the "
                "TempCache node or the Light Forcing Patch (--select light-forcing)"
            )

    def begin(self, video: VideoShape) -> LightForcingRun:
        from .run import LightForcingRun

        return LightForcingRun(self, video)

    def describe(self) -> str:
        return f"Light Forcing, sparsity {self.sparsity:g}, {self.keep_frames} past frames of a block of queries"

    def schedule(self, config: MemoryConfig, video: VideoShape) -> str:
        from .schedule import describe_sparsity

        return describe_sparsity(config, video)

    def growth(self, retention: Retention, video: VideoShape) -> ChunkGrowth | None:
        """How the sparsity of heads with this retention grows; None for heads that read all they have."""
        window = None
        if retention.last is not None:
            history = retention.first + retention.last
            if history <= self.keep_frames:
                return None
            window = history + video.chunk_frames
        return ChunkGrowth.solve(self.sparsity, self.final_base, video, window)

    def is_dense(self, clock: ChunkClock) -> bool:
        """Whether everything is read in this pass anyway."""
        first = self.dense_first_pass and clock.pass_index == 0 and not clock.clean
        return not self.sparsity or first or (self.dense_clean_pass and clock.clean)

    def choose(
        self, past: Sequence[int], own_frames: int, blocks_per_frame: int, sparsity: float
    ) -> BlockChoice | None:
        """What queries choose from; None where they read everything.

        Args:
            past: latent frames of the history, in the order in which they are read; those of the pass come after.
        """
        from .block_choice import BlockChoice, count_blocks

        total, own = (len(past) + own_frames) * blocks_per_frame, own_frames * blocks_per_frame
        wanted = own + count_blocks(total - own, sparsity) if self.keep_current else count_blocks(total, sparsity)
        if not past or not sparsity or wanted >= total:
            return None
        frames = max(self.keep_frames, -((own - wanted) // blocks_per_frame))  # at least what the blocks fill
        others = sorted(frame for frame in past if frame >= self.sink)
        kept = {*past} if len(past) <= frames else {*past} - {*others[: len(others) - self.near]}
        return BlockChoice(
            eligible=(*(frame in kept for frame in past), *[True] * own_frames),
            middle=min(frames, len(past)) - len(kept),
            forced=(*[False] * len(past), *[self.keep_current] * own_frames),
            blocks=wanted,
        )


PRESETS: dict[str, LightForcing] = {
    "training-free": LightForcing(),
    "tuned-weights": LightForcing.tuned(),
    "tuned-weights-long": LightForcing.tuned_long(),
}
"""What can be chosen by name: the first for any weights, the others for the authors'."""

LightForcing.presets = PRESETS
