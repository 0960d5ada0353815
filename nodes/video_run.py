"""A run as a value on the graph: a video and what it cost to make."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.stream.tally import RunReport


@dataclass(frozen=True)
class VideoRun:
    """One video that Stream AR Video has made; `file` is the path of its file."""

    file: str
    report: RunReport
