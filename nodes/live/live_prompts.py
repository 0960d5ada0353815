"""Another prompt for a video under way: encoded between two chunks, on the thread that samples."""

from __future__ import annotations

import comfy.model_management as management
from torch import Tensor

from ...core.stream.config import StreamConfig
from ...core.stream.prompt_times import FRAME_RATE, PromptPlan
from ...core.stream.prompts import PromptSchedule, SwitchMethod
from .live_stream import LiveStream, PromptMark


class LivePrompts:
    """A prompt plan whose schedule also takes what people ask for; a sampler gets it in place of the plan."""

    def __init__(self, plan: PromptPlan, clip):
        """clip: the text encoder; None where none is connected."""
        self._plan = plan
        self._clip = clip
        self._running: PromptSchedule | None = None

    def schedule(self, first: Tensor, config: StreamConfig, family_method: SwitchMethod | None) -> PromptSchedule:
        """As `PromptPlan.schedule`."""
        self._running = self._plan.schedule(first, config, family_method)
        return self._running

    def recached(self, rolling: bool, family_method: SwitchMethod | None) -> int:
        """As `PromptPlan.recached`."""
        return self._plan.recached(rolling, family_method, more=self._clip is not None)

    def take(self, stream: LiveStream, next_chunk: int) -> None:
        """Hand what was asked for to the schedule; call it between two chunks."""
        text = stream.take_prompt()
        if text is None or self._running is None or self._clip is None:
            return
        try:
            self._running.change(encode(self._clip, text))
        except management.InterruptProcessingException:
            raise
        except Exception as error:  # whatever a text encoder, maybe of another pack, may raise: the video goes on
            stream.prompt_refused(str(error) or type(error).__name__)
        else:
            stream.prompt_changed(text, next_chunk)


def encode(clip, text: str) -> Tensor:
    """Text-encoder output [1, L, text_dim] of a ComfyUI CLIP.

    The encoder may push the models that are sampling out of the GPU's memory, so they are brought back.
    """
    sampling = management.loaded_models(only_currently_used=True)
    try:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))[0][0]
    finally:
        management.load_models_gpu(sampling)


def prompt_marks(
    first: str | None, later: list[str | None], plan: PromptPlan, config: StreamConfig
) -> list[PromptMark]:
    """Where each text begins; `later` are the texts of the plan, None for one that is not known."""
    marks = [PromptMark(0, first)] if first else []
    for time, text in zip(plan.times, later, strict=True):
        chunk = config.chunk_at(time.latent_frame(config, FRAME_RATE))
        marks.append(PromptMark(chunk, text))
    return marks
