"""TempCache: tokens that stay alike from frame to frame are held once (FAST-AR, arXiv 2602.01801, section 5.1).

A token whose key is nearly that of its predecessor in the frame before takes that one's place: the newest key is
kept, values are averaged, and attention adds the logarithm of how many tokens it stands for. For identical keys
this is exact (Lemma 5.1). Below the similarity asked for both are kept, so that the worst case is what dense memory
reads. A group's key is the newest, at the newest place in time: what RoPE would have made of older ones is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import DummyForcingError
from .correspondence import Compare, Correspondence, Place
from .dummy_forcing import DummyForcing
from .merge import KVStore
from .merged_store import MergedStore
from .store import FrameStore, StoreHeads, StoreLayout
from .window import RollingWindow, Window

Values = Literal["mean", "newest"]


@dataclass(frozen=True)
class TempCache:
    """Merge tokens over time, within a budget.

    Attributes:
        similarity: cosine above which a token continues its predecessor; 1 merges nothing.
        budget: latent frames' worth of tokens that a head holds at most, its sink and the newest frame included.
            Tokens that stand for the fewest others go first, of equals the oldest.
        sink: opening frames of heads that keep the whole history; held as they are and never given up. Heads with
            a window have the window's sink.
        correspondence: where a token's predecessor is searched for: at the "same" place, in its 3 x 3
            "neighbourhood", or the "nearest" key of the whole frame before.
        compare: "unroped" keys, or "roped" ones, as they are.
        values: of a group the "mean" of its members', as published, or the "newest".
    """

    similarity: float = 0.9
    budget: int = 21
    sink: int = 1
    correspondence: Place = "same"
    compare: Compare = "unroped"
    values: Values = "mean"

    def __post_init__(self) -> None:
        if not 0 < self.similarity <= 1:
            raise DummyForcingError(
                f"the similarity of merged tokens is {self.similarity}; expected a cosine above 0 up to 1"
            )
        if self.sink < 0 or self.budget < self.sink + 2:
            raise DummyForcingError(
                f"TempCache has a budget of {self.budget} latent frames and a sink of {self.sink}; expected a sink "
                f"of 0 or more and a budget of at least {max(0, self.sink) + 2}: the newest frame and one more"
            )
        for name, choices in (("correspondence", Place), ("compare", Compare), ("values", Values)):
            if getattr(self, name) not in get_args(choices):
                raise DummyForcingError(
                    f"TempCache's {name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(choices))}"
                )

    def check(self, config: Any) -> None:
        """Raises DummyForcingError where frames have to stay whole, or nothing would ever be merged."""
        keep = config.keep
        if isinstance(keep, RollingWindow):
            raise DummyForcingError(
                "Rolling Forcing's passes read different parts of the window, which merged tokens cannot be split "
                "into; remove TempCache or use a plain window"
            )
        if isinstance(keep, Window):
            if keep.sink_average is not None:
                raise DummyForcingError(
                    "a sink that averages the frames that leave the window needs these whole; remove TempCache or "
                    "the sink average"
                )
            if self.budget < keep.sink + 2:
                raise DummyForcingError(
                    f"TempCache's budget of {self.budget} latent frames cannot hold the window's sink of "
                    f"{keep.sink} and the newest frame; use at least {keep.sink + 2}"
                )
        if isinstance(keep, DummyForcing) and keep.local_context == 1:
            raise DummyForcingError(
                "Dummy Forcing with a local context of one chunk leaves TempCache nothing to merge; give neighbor "
                "heads a local context of 2 chunks or more, or remove TempCache"
            )

    def begin(self, layout: StoreLayout) -> TempCacheRun:
        """Raises DummyForcingError where the grid of tokens is needed but not known."""
        if self.correspondence != "same" and layout.grid is None:
            raise DummyForcingError(
                f"TempCache's correspondence {self.correspondence!r} needs the rows and columns of a frame's "
                "tokens, which are not known here; use 'same'"
            )
        return TempCacheRun(self, layout)


class TempCacheRun:
    """Makes merged stores for heads that look back far enough, plain ones for the others."""

    bytes = 0

    def __init__(self, config: TempCache, layout: StoreLayout):
        self._config = config
        self._layout = layout
        self._matching = Correspondence(config.correspondence, config.compare, config.similarity, layout.grid)

    def store(self, members: tuple[StoreHeads, ...], slots: int | None, scored: bool) -> KVStore:
        """A merged store, unless the history is needed frame by frame or is no longer than a pass.

        Heads of one store have one retention: those of different ones stay as they are.
        """
        retentions = {member.retention for member in members}
        (last, *others) = {retention.last for retention in retentions}
        short = last is not None and last <= self._layout.pass_frames
        if scored or short or others or len(retentions) > 1:
            return FrameStore(self._layout, members, slots)
        config = self._config
        averages = config.values == "mean"
        return MergedStore(self._layout, members, slots, config.budget, config.sink, self._matching, averages)

    def close(self) -> None:
        pass
