"""Dense: every head keeps everything. The baseline, and what the models were trained with."""

from __future__ import annotations

from dataclasses import dataclass

from ..memory.keep import Uniform
from ..memory.retention import Retention
from ..video import VideoShape
from .base import KeepMethod


@dataclass(frozen=True)
class Dense(
    KeepMethod, name="dense", title="Dense", about="Every head keeps every frame; memory grows with the video."
):
    """Keep every frame for every head; memory grows with the video."""

    keeps_all = True
    on_nodes = False

    def begin(self, video: VideoShape) -> Uniform:
        return Uniform(video, Retention(last=None))

    def describe(self) -> str:
        return "everything is kept"
