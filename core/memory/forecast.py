"""How much memory a video's keys and values will take, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from .clock import ChunkClock
from .config import MemoryConfig, VideoLayout, build_memory
from .keep import KeepShape


@dataclass(frozen=True)
class KVForecast:
    """Bytes of keys and values, for all layers: the most at any time, and at the end of the video."""

    peak_bytes: int
    final_bytes: int


def forecast_kv(config: MemoryConfig, backbone: nn.Module, video: VideoLayout) -> KVForecast:
    """Begin a video of `video.total_frames` latent frames on the meta device, which allocates nothing.

    Where roles are yet to be measured, the costliest assignment is assumed. Stores are allocated for the whole
    video, at the beginning and when heads are regrouped: nothing changes after that.
    """
    chunk, first = video.chunk_frames, video.first_frames or video.chunk_frames
    shape = KeepShape(len(backbone.blocks), backbone.num_heads, chunk, first)
    config = replace(config, keep=config.keep.costliest(shape))
    settled = config.keep.begin(shape).frames_before_regroup(None) or 0  # None: heads are never regrouped
    memory = build_memory(config, backbone, replace(video, device=torch.device("meta")))
    peak, start, index = memory.status.bytes, 0, 0
    while start < min(settled, video.total_frames):
        frames = chunk if index else first
        memory.commit(ChunkClock(index, start, frames, video.tokens_per_frame, 0, 0.0, True))
        start, index = start + frames, index + 1
        peak = max(peak, memory.status.bytes)
    return KVForecast(peak, memory.status.bytes)
