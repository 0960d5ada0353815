"""KV quantisation: the history in 8 bits, the frames of the current chunk as they are (KIVI, arXiv 2402.02750)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DummyForcingError
from ...video import VideoShape
from ..base import MergeMethod
from ..declaration import option

if TYPE_CHECKING:
    from ...memory_config import MemoryConfig
    from .run import QuantisedRun


@dataclass(frozen=True)
class QuantisedKV(
    MergeMethod,
    name="quantised",
    title="KV quantisation",
    about="Retained frames are held in 8 bits: about half the memory, at a small error.",
):
    """Store retained frames in 8 bits: half the memory of 16 bits, plus scratch space for one layer to read them.

    Attributes:
        format: "int8", or "fp8" (e4m3), whose error is several times as large.
    """

    format: str = option(
        "int8",
        "int8 has the smaller error; fp8 (e4m3) takes as much memory.",
        choices=("int8", "fp8"),
        flag="kv",
        selects=True,
        off="full",
    )

    bench = ("format",)

    @classmethod
    def typed(cls) -> str:
        return "kv"

    def check(self, config: MemoryConfig) -> None:
        """Raise DummyForcingError for a sink that is an average."""
        if config.keep.sink_average is not None:
            raise DummyForcingError(
                "a sink that averages the frames that leave the window takes in a thousandth of each, which 8 bits "
                "lose; remove KV quantisation or the sink average"
            )

    def begin(self, video: VideoShape, closes_after: int | None) -> QuantisedRun:
        from .run import QuantisedRun

        return QuantisedRun(self.format, video, closes_after)

    def describe(self) -> str:
        return f"history in 8 bits ({self.format})"
