"""Types of our own on the wires of a graph."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io

from ..core.stream.tally import RunReport

HeadProfileType = io.Custom("DUMMY_FORCING_HEAD_PROFILE")
"""Carries a `core.heads.profile.HeadProfile`."""

PromptScheduleType = io.Custom("DUMMY_FORCING_PROMPT_SCHEDULE")
"""Carries a `core.stream.prompt_times.PromptPlan`."""

RunType = io.Custom("DUMMY_FORCING_RUN")
"""Carries a `VideoRun`."""


@dataclass(frozen=True)
class VideoRun:
    """One video that Stream AR Video has made; `file` is the path of its file."""

    file: str
    report: RunReport
