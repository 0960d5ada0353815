"""TempCache: tokens that stay alike from frame to frame are held once (FAST-AR, arXiv 2602.01801, section 5.1).

A token whose key is nearly that of its predecessor in the frame before replaces it: the newest key is kept, values
are averaged, and attention adds the logarithm of how many tokens the key stands for. For identical keys this is
exact (Lemma 5.1). Tokens less similar than asked for are both kept, so in the worst case as much is read as by
dense memory. A group's key is its newest one, at the newest position in time: the older tokens' positions are lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...errors import DummyForcingError
from ...video import VideoShape
from ..base import MergeMethod
from ..declaration import option

if TYPE_CHECKING:
    from ...memory_config import MemoryConfig
    from .run import TempCacheRun

Place = Literal["same", "neighbourhood", "nearest"]
Compare = Literal["unroped", "roped"]
Values = Literal["mean", "newest"]


@dataclass(frozen=True)
class TempCache(
    MergeMethod,
    name="temp_cache",
    title="TempCache",
    about="Tokens that look like the one at their place in the frame before are held once, within a budget.",
):
    """Merge tokens over time, within a budget.

    Attributes:
        similarity: cosine above which a token continues its predecessor; 1 merges nothing.
        budget: latent frames' worth of tokens that a head holds at most, its sink and the newest frame included.
            Tokens that stand for the fewest others are dropped first, and among equals the oldest.
        sink: opening frames of heads that keep the whole history; never merged and never dropped. Heads with a
            window have the window's sink.
        correspondence: where a token's predecessor is searched for: at the "same" place, in its 3 x 3
            "neighbourhood", or the "nearest" key of the whole frame before.
        compare: "unroped" compares keys with RoPE undone, "roped" compares them as they are.
        values: a group's value is the "mean" of its members' values, as published, or the "newest" of them.
    """

    similarity: float = option(
        0.9,
        "Cosine of two keys above which tokens are alike. Higher is closer; 1 merges nothing.",
        low=0.0,
        high=1.0,
        above=True,
        least=0.01,
        flag="similarity",
    )
    budget: int = option(
        21,
        "Latent frames' worth of tokens that a head holds at most. Tokens that were seen in the fewest frames go "
        "first.",
        low=2,
        most=4096,
        unit="latent frames",
        flag="budget",
    )
    sink: int = option(
        1,
        "First latent frames that stay as they are. With an AR KV Window, that node's sink counts.",
        low=0,
        most=1024,
        rare=True,
        flag="",
    )
    correspondence: Place = option(
        "same",
        "Where in the frame before a token is looked for: at the same place, in the 3 x 3 places around it, or "
        "anywhere. The latter two follow what moves, and take more time.",
        choices=("same", "neighbourhood", "nearest"),
        rare=True,
        flag="correspondence",
    )
    compare: Compare = option(
        "unroped",
        "Keys without their positions, or as attention sees them, which merges less.",
        choices=("unroped", "roped"),
        rare=True,
        flag="",
    )
    values: Values = option(
        "mean",
        "What merged tokens are read as: the mean, as published, or the newest, which moves better.",
        choices=("mean", "newest"),
        rare=True,
        flag="merged-values",
    )

    bench = ("similarity", "budget")
    holds_frames = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget < self.sink + 2:
            raise DummyForcingError(
                f"TempCache has a budget of {self.budget} latent frames and a sink of {self.sink}; expected a "
                f"budget of at least {self.sink + 2}: the sink, the newest frame and one more"
            )

    def check(self, config: MemoryConfig) -> None:
        """Raise DummyForcingError if frames have to stay whole, or if nothing would ever be merged."""
        keep = config.keep
        if not keep.reads_all:
            raise DummyForcingError(
                "Rolling Forcing's passes read different parts of the window, which merged tokens cannot be split "
                "into; remove TempCache or use a plain window"
            )
        if keep.sink_average is not None:
            raise DummyForcingError(
                "a sink that averages the frames that leave the window needs these whole; remove TempCache or the "
                "sink average"
            )
        if self.budget < keep.sink + 2:
            raise DummyForcingError(
                f"TempCache's budget of {self.budget} latent frames cannot hold the window's sink of {keep.sink} "
                f"and the newest frame; use at least {keep.sink + 2}"
            )
        if keep.local_context == 1:
            raise DummyForcingError(
                "Dummy Forcing with a local context of one chunk leaves TempCache nothing to merge; give neighbor "
                "heads a local context of 2 chunks or more, or remove TempCache"
            )

    def begin(self, video: VideoShape, closes_after: int | None) -> TempCacheRun:
        from .run import TempCacheRun

        return TempCacheRun(self, video, closes_after)

    def describe(self) -> str:
        return f"TempCache, similarity {self.similarity:g}, {self.budget} latent frames at most"
