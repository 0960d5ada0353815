"""The methods that leave their slot alone: every frame as it is, all keys, all tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .base import CrossMethod, MergeMethod, SelectMethod

if TYPE_CHECKING:
    from ..memory.merge import WholeFrames
    from ..memory.select import WholeHistory, WholePrompt
    from ..video import VideoShape


@dataclass(frozen=True)
class Unmerged(MergeMethod, name="none", title="every frame as it is", about="Each frame on its own."):
    """Every retained frame as it is, in the dtype of the model."""

    on_nodes = False

    def begin(self, video: VideoShape, closes_after: int | None) -> WholeFrames:
        from ..memory.merge import WholeFrames

        return WholeFrames(video, closes_after)


@dataclass(frozen=True)
class AllKeys(SelectMethod, name="all", title="all keys", about="All that its head retains."):
    """Every query reads all that its head retains."""

    on_nodes = False

    def begin(self, video: VideoShape) -> WholeHistory:
        from ..memory.select import WholeHistory

        return WholeHistory()


@dataclass(frozen=True)
class AllTokens(CrossMethod, name="all", title="all tokens", about="The whole prompt."):
    """Every query reads the whole prompt, padding included, as in Wan's training."""

    on_nodes = False

    def begin(self) -> WholePrompt:
        from ..memory.select import WholePrompt

        return WholePrompt()
