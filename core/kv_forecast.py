"""How much memory a video's keys and values will take, before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from .clock import ChunkClock
from .memory.memory import Cut, Memory
from .memory_config import MemoryConfig
from .video import VideoShape


@dataclass(frozen=True)
class KVForecast:
    """Bytes of keys and values, for all layers: the most at any time, and at the end of the video.

    bound: whether the figures are upper bounds, because heads will only be measured during the video.
    """

    peak_bytes: int
    final_bytes: int
    bound: bool = False


def forecast_kv(config: MemoryConfig, video: VideoShape, recache_frames: int = 0) -> KVForecast:
    """Run the memory of a video of `video.total_frames` latent frames on the meta device, which allocates nothing.

    Where roles have not been measured yet, those that take the most are assumed. Stores are allocated for
    the whole video, at its beginning and when heads are regrouped. Nothing changes after that, unless a new prompt
    recomputes `recache_frames` frames: then heads that have been grouped start over with all of these frames.
    """
    video = replace(video, device=torch.device("meta"))
    measures = config.keep.needs_measurement
    config = replace(config, keep=config.keep.upper_bound(video))
    settled = config.keep.begin(video).frames_before_regroup(None) or 0  # None: heads are never regrouped
    run = _Forecast(config.begin(video), video)
    run.commit_to(settled)
    if recache_frames:
        run.recache(recache_frames, measures)
    held = run.memory.status
    return KVForecast(run.peak, held.bytes, bound=measures and held.roles is not None)


class _Forecast:
    """A memory that is given frames without data."""

    def __init__(self, memory: Memory, video: VideoShape):
        self.memory, self.peak = memory, memory.status.bytes
        self._video, self._chunk = video, 0

    def commit_to(self, frame: int) -> None:
        """Commit chunks until there are this many frames, or the video ends."""
        while self._video.start_frame(self._chunk) < min(frame, self._video.whole_frames):
            self._commit(self._chunk)
            self._chunk += 1

    def recache(self, frames: int, measures: bool) -> None:
        """Change the prompt as soon as `frames` follow the first chunk, if the video is that long.

        measures: whether heads are measured again, which needs the next chunk too.
        """
        chunks = math.ceil(frames / self._video.chunk_frames)
        self.commit_to(self._video.start_frame(chunks + 1))
        if self._video.start_frame(self._chunk + 1) > self._video.whole_frames:
            return
        now = self._chunk
        cut = Cut(self._video.start_frame(1), self._video.start_frame(now - chunks))
        if self.memory.rewind(cut, now + measures):
            self._commit(0)
        for chunk in range(now - chunks, now + 1 + measures):
            self._commit(chunk)

    def _commit(self, chunk: int) -> None:
        start = self._video.start_frame(chunk)
        frames = self._video.start_frame(chunk + 1) - start
        self.memory.commit(ChunkClock(chunk, start, frames, self._video.tokens_per_frame, 0, 0.0, True))
        self.peak = max(self.peak, self.memory.status.bytes)
