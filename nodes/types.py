"""Types of our own on the wires of a graph."""

from __future__ import annotations

from comfy_api.latest import io

HeadProfileType = io.Custom("DUMMY_FORCING_HEAD_PROFILE")
"""Carries a `core.heads.profile.HeadProfile`."""

PromptScheduleType = io.Custom("DUMMY_FORCING_PROMPT_SCHEDULE")
"""Carries a `nodes.prompt_schedule.PromptPlan`."""

RunType = io.Custom("DUMMY_FORCING_RUN")
"""Carries a `nodes.video_run.VideoRun`."""
