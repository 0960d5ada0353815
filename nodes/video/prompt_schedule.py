"""The node AR Prompt Schedule: prompts that follow the first one in the course of a video."""

from __future__ import annotations

from comfy_api.latest import io

from ...core.errors import DummyForcingError
from ...core.stream.prompt_times import PromptPlan, PromptTime, parse_time
from ...core.stream.prompts import SWITCH_METHODS, PromptSwitch
from .. import host
from ..schema import node_schema
from ..types import PromptScheduleType
from .inputs import rare_number

FAMILY = "family's own"
_DEFAULT = PromptSwitch()
_MOST_PROMPTS = 50


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
        return node_schema(
            node_id="DummyForcingPromptSchedule",
            display_name="AR Prompt Schedule",
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
                rare_number(
                    "recache_frames",
                    _DEFAULT.recache_frames,
                    1,
                    4096,
                    "recache: how many of the newest latent frames are computed anew.",
                ),
                rare_number(
                    "flush_frames",
                    _DEFAULT.flush_frames,
                    1,
                    4096,
                    "flush: how many of the newest latent frames stay.",
                ),
                rare_number(
                    "interpolate_chunks",
                    _DEFAULT.chunks,
                    1,
                    1000,
                    "interpolate: over how many chunks the prompt moves to the next one.",
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
        texts = tuple(host.later_text(name, prompt) for name, prompt in prompts.items() if prompt is not None)
        method = None if switch == FAMILY else switch
        plan = PromptPlan(
            _parse_times(times, len(texts)), texts, method, recache_frames, flush_frames, interpolate_chunks
        )
        return io.NodeOutput(plan)


def prompts_input():
    """The input with which a sampling node takes a schedule."""
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
