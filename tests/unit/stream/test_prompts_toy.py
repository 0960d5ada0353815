"""A change of prompt on the toy world's own weights: it shows within a chunk (docs/toy_prompts.md)."""

import pytest
import torch

from dummy_forcing.core.decoders.streaming import StreamingDecoder
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompts import NO_CHANGES, PromptSchedule, PromptSwitch, ScheduledPrompt
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.video_score import score_video
from dummy_forcing.core.world.vocabulary import embed_prompt

OLD = "a red circle moving right and a blue square moving left"
NEW = "a green circle moving right and a magenta square moving left"


def frames_of(model, method):
    """The frames of three chunks, under the new prompt from chunk 2 on."""
    old, prompts = embed_prompt(OLD), NO_CHANGES
    if method is not None:
        prompts = PromptSchedule(old, [ScheduledPrompt(6, embed_prompt(NEW))], PromptSwitch(method))
    config = model.stream_config(9, MemoryConfig(DummyForcing()))
    decoder = StreamingDecoder(model.vae)
    events = stream_video(model.backbone, old, config, SeededNoise(0), prompts=prompts)
    return [decoder.decode(event.latents)[0] for event in events if isinstance(event, ChunkDone)]


@pytest.mark.heavy
def test_other_colours_show_in_the_chunk_of_the_change_and_nothing_before():
    model = open_toy_world()
    plain = frames_of(model, None)
    assert score_video(plain[2], OLD).total > 0.9 > 0.4 > score_video(plain[2], NEW).total
    for method in ("cross-attention", "recache", "flush"):
        found = frames_of(model, method)
        assert all(torch.equal(one, other) for one, other in zip(found[:2], plain[:2], strict=True))
        assert score_video(found[2], NEW).total > 0.6 > score_video(found[2], OLD).total
