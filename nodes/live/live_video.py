"""Connects the node that makes a video with the people who watch it."""

from __future__ import annotations

from types import TracebackType

import comfy.model_management
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ...core.stream.config import StreamConfig
from ...core.stream.prompt_times import FRAME_RATE, PromptPlan
from ...core.stream.tally import Standing
from ...core.video import pixel_frames
from ..host.frontend import workflow_id_of
from ..video.prompt_texts import find_later_texts, find_text
from ..video.video_plan import VideoPlan
from .live_prompts import LivePrompts, prompt_marks
from .live_stream import LiveStream, Status, StreamPlace, StreamSize
from .live_streams import OUTPUT, STREAMS


class LiveVideo:
    """A stream while its node runs; leaving `with` closes it, whatever the reason."""

    def __init__(self, stream: LiveStream, prompts: LivePrompts):
        self.prompts = prompts
        self._stream = stream
        self._chunks_done = 0

    @property
    def has_player(self) -> bool:
        """Whether the run comes from the frontend, where the node plays the video itself."""
        return self._stream.place.workflow_id is not None

    @property
    def output(self) -> dict[str, list[str]]:
        """For the node's `ui`: which stream shows what it made."""
        return {OUTPUT: [self._stream.id]}

    def check_stop(self) -> None:
        """End the sampling as ComfyUI's own stop does, but only that of this video."""
        if self._stream.stop_asked:
            raise comfy.model_management.InterruptProcessingException

    def add_chunk(self, frames: Tensor, standing: Standing) -> None:
        """The frames [T, H, W, 3] of a finished chunk; callable from any thread."""
        self._chunks_done = standing.chunks_done
        self._stream.add_chunk(frames, standing)

    def take_prompt(self, standing: Standing) -> None:
        """Take the prompt asked for; call it between two chunks, on the thread that samples."""
        self.prompts.take(self._stream, standing.chunks_done)

    def __enter__(self) -> LiveVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close(self._status(error))

    def _status(self, error: BaseException | None) -> Status:
        if error is None:
            total = self._stream.size.chunks
            return "finished" if total is None or self._chunks_done >= total else "stopped"
        stopped = isinstance(error, comfy.model_management.InterruptProcessingException)
        return "stopped" if stopped else "failed"


def open_live_video(hidden, plan: VideoPlan, config: StreamConfig, prompts: PromptPlan, clip) -> LiveVideo:
    """Let browsers watch the video that a node is about to make.

    Args:
        hidden: the node's hidden inputs: its id, and the prompt and workflow that it belongs to.
        prompts: later prompts.
        clip: encodes other prompts while the video is made; None if there is none.
    """
    node_id = str(hidden.unique_id)
    frames = None if config.total_frames is None else pixel_frames(config.total_frames)
    size = StreamSize(plan.width, plan.height, FRAME_RATE, config.total_chunks, frames)
    later = find_later_texts(hidden.prompt, node_id, len(prompts.times))
    marks = prompt_marks(find_text(hidden.prompt, node_id, "positive"), later, prompts, config)
    stream = STREAMS.open(place_of(hidden), size, marks, "no_clip" if clip is None else None)
    return LiveVideo(stream, LivePrompts(prompts, clip))


def place_of(hidden) -> StreamPlace:
    """Where a node stands, from its hidden inputs."""
    context = get_executing_context()
    workflow_id = workflow_id_of(hidden.extra_pnginfo)
    return StreamPlace(context.prompt_id if context else "", str(hidden.unique_id), workflow_id)
