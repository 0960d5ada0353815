"""The node Prompt Schedule: prompts that follow the first one in the course of a video."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io
from torch import Tensor

from ..core.checkpoints.families import Family
from ..core.errors import DummyForcingError
from ..core.stream.config import StreamConfig
from ..core.stream.prompt_times import PromptTime, parse_time
from ..core.stream.prompts import SWITCH_METHODS, PromptSchedule, PromptSwitch, ScheduledPrompt
from .types import PromptScheduleType

FRAME_RATE = 16  # of all Wan 2.1 models
FAMILY = "family's own"
_DEFAULT = PromptSwitch()
_MOST_PROMPTS = 50


@dataclass(frozen=True, eq=False)
class PromptPlan:
    """Later prompts of a video, before it is known how the video is cut.

    texts: embeddings [1, L, text_dim], one for each of `times`. method None stands for the family's own; the other
    fields as in `PromptSwitch`.
    """

    times: tuple[PromptTime, ...]
    texts: tuple[Tensor, ...]
    method: str | None
    recache_frames: int = _DEFAULT.recache_frames
    flush_frames: int = _DEFAULT.flush_frames
    chunks: int = _DEFAULT.chunks

    def schedule(self, first: Tensor, config: StreamConfig, family: Family | None) -> PromptSchedule:
        """The schedule for a video that begins with the prompt `first` [1, L, text_dim]."""
        usual = "cross-attention" if config.rolling else _DEFAULT.method
        method = self.method or (family.prompt_switch if family else usual)
        later = [
            ScheduledPrompt(time.latent_frame(config, FRAME_RATE), text)
            for time, text in zip(self.times, self.texts, strict=True)
        ]
        switch = PromptSwitch(method, self.recache_frames, self.flush_frames, self.chunks)
        return PromptSchedule(first, later, switch)


NO_LATER_PROMPTS = PromptPlan((), (), None)


class ARPromptSchedule(io.ComfyNode):
    """Says which prompt takes over when, and what happens to the memory then."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        prompts = io.Autogrow.TemplatePrefix(
            io.Conditioning.Input("prompt", tooltip="A later prompt; the first one goes to the sampling node."),
            prefix="prompt_",
            min=1,
            max=_MOST_PROMPTS,
        )
        return io.Schema(
            node_id="DummyForcingPromptSchedule",
            display_name="AR Prompt Schedule",
            category="video/dummy forcing",
            description=(
                "Changes the prompt while a video is made: a list of later prompts and when each begins. Connect "
                "it to Stream AR Video or the AR Streaming Sampler, whose own prompt is the first."
            ),
            search_aliases=["prompt travel", "prompt switch", "scene change", "story", "interactive prompt"],
            inputs=[
                io.Autogrow.Input("prompts", template=prompts, tooltip="The later prompts, in order."),
                io.String.Input(
                    "times",
                    default="3s",
                    tooltip=(
                        "When each of them begins, separated by commas: seconds (5s) or chunks (chunk 8, counted "
                        "from 0). Prompts change between chunks."
                    ),
                ),
                io.Combo.Input(
                    "switch",
                    options=[FAMILY, *SWITCH_METHODS],
                    default=FAMILY,
                    tooltip=(
                        "What happens to the memory. cross-attention: nothing. recache: the newest frames are "
                        "computed anew under the new prompt (LongLive). flush: all but the first and the last "
                        "frame are forgotten (Infinity-RoPE). interpolate: the prompt moves over in steps (Krea)."
                    ),
                ),
                io.Int.Input(
                    "recache_frames",
                    default=_DEFAULT.recache_frames,
                    min=1,
                    max=4096,
                    optional=True,
                    advanced=True,
                    tooltip="recache: how many of the newest latent frames are computed anew.",
                ),
                io.Int.Input(
                    "flush_frames",
                    default=_DEFAULT.flush_frames,
                    min=1,
                    max=4096,
                    optional=True,
                    advanced=True,
                    tooltip="flush: how many of the newest latent frames stay.",
                ),
                io.Int.Input(
                    "interpolate_chunks",
                    default=_DEFAULT.chunks,
                    min=1,
                    max=1000,
                    optional=True,
                    advanced=True,
                    tooltip="interpolate: over how many chunks the prompt moves to the next one.",
                ),
            ],
            outputs=[PromptScheduleType.Output(display_name="schedule", tooltip="The prompts and their times.")],
        )

    @classmethod
    def execute(
        cls,
        prompts: io.Autogrow.Type,
        times: str,
        switch: str,
        recache_frames: int = _DEFAULT.recache_frames,
        flush_frames: int = _DEFAULT.flush_frames,
        interpolate_chunks: int = _DEFAULT.chunks,
    ) -> io.NodeOutput:
        texts = tuple(prompt[0][0] for prompt in prompts.values() if prompt)
        method = None if switch == FAMILY else switch
        plan = PromptPlan(
            _parse_times(times, len(texts)), texts, method, recache_frames, flush_frames, interpolate_chunks
        )
        return io.NodeOutput(plan)


def prompts_input():
    """Where a sampling node takes a schedule."""
    return PromptScheduleType.Input(
        "prompts", optional=True, tooltip="Later prompts, from AR Prompt Schedule; the node's own is the first."
    )


def _parse_times(text: str, prompts: int) -> tuple[PromptTime, ...]:
    times = tuple(parse_time(part) for part in text.split(",") if part.strip())
    if len(times) != prompts:
        raise DummyForcingError(
            f"there are {prompts} later prompts and {len(times)} times ({text!r}); give one time for each prompt, "
            "separated by commas, such as 3s, 6s"
        )
    return times
