"""How much memory a video's keys and values will take, before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from .clock import ChunkClock
from .config import MemoryConfig, VideoLayout, build_memory
from .keep import KeepShape
from .memory import Cut, Memory


@dataclass(frozen=True)
class KVForecast:
    """Bytes of keys and values, for all layers: the most at any time, and at the end of the video.

    bound: heads are going to be measured in the course of the video, which will take so much at most.
    """

    peak_bytes: int
    final_bytes: int
    bound: bool = False


def forecast_kv(
    config: MemoryConfig, backbone: nn.Module, video: VideoLayout, recache_frames: int = 0
) -> KVForecast:
    """Begin a video of `video.total_frames` latent frames on the meta device, which allocates nothing.

    Where roles are yet to be measured, the costliest assignment is assumed. Stores are allocated for the whole
    video, at the beginning and when heads are regrouped: nothing changes after that, unless a new prompt has
    `recache_frames` frames computed anew, for which heads that have been grouped start over with all of them.
    """
    first = video.first_frames or video.chunk_frames
    shape = KeepShape(len(backbone.blocks), backbone.num_heads, video.chunk_frames, first)
    measured = config.keep
    config = replace(config, keep=config.keep.costliest(shape))
    settled = config.keep.begin(shape).frames_before_regroup(None) or 0  # None: heads are never regrouped
    run = _Forecast(build_memory(config, backbone, replace(video, device=torch.device("meta"))), shape, video)
    run.commit_to(settled)
    unmeasured = config.keep is not measured
    if recache_frames:
        run.recache(recache_frames, measures=unmeasured)
    held = run.memory.status
    return KVForecast(run.peak, held.bytes, bound=unmeasured and held.roles is not None)


class _Forecast:
    """A memory that is given frames which hold nothing."""

    def __init__(self, memory: Memory, shape: KeepShape, video: VideoLayout):
        self.memory, self.peak = memory, memory.status.bytes
        self._shape, self._video, self._chunk = shape, video, 0

    def commit_to(self, frame: int) -> None:
        """Commit chunks until so many frames are there, or the video ends."""
        while self._shape.start_frame(self._chunk) < min(frame, self._video.total_frames):
            self._commit(self._chunk)
            self._chunk += 1

    def recache(self, frames: int, measures: bool) -> None:
        """Change the prompt as soon as `frames` lie behind the first chunk, if the video gets that far.

        measures: whether heads are measured again, which takes the next chunk too.
        """
        chunks = math.ceil(frames / self._shape.chunk_frames)
        self.commit_to(self._shape.start_frame(chunks + 1))
        if self._shape.start_frame(self._chunk + 1) > self._video.total_frames:
            return
        now = self._chunk
        cut = Cut(self._shape.start_frame(1), self._shape.start_frame(now - chunks))
        if self.memory.rewind(cut, now + measures):
            self._commit(0)
        for chunk in range(now - chunks, now + 1 + measures):
            self._commit(chunk)

    def _commit(self, chunk: int) -> None:
        start = self._shape.start_frame(chunk)
        frames = self._shape.start_frame(chunk + 1) - start
        self.memory.commit(ChunkClock(chunk, start, frames, self._video.tokens_per_frame, 0, 0.0, True))
        self.peak = max(self.peak, self.memory.status.bytes)
