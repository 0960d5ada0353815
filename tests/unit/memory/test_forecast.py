"""The forecast is what a stream then holds."""

import contextlib

import pytest

from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.denoiser import BackboneDenoiser
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_chunks
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompts import PromptSchedule, PromptSwitch, ScheduledPrompt
from dummy_forcing.core.video import VideoShape


def forecast(keep, total, first=None):
    return forecast_kv(MemoryConfig(keep), VideoShape(2, 4, 3, total, first, grid=(2, 2), head_dim=12))


@pytest.mark.parametrize("keep", [Dense(), Window(1, 7), Window(0, 3), DummyForcing(dummy_ratio=1.0)])
@pytest.mark.parametrize("total", [3, 6, 9, 30])
def test_forecast_equals_what_is_held(stream, keep, total):
    held = [event.kv_bytes for event in stream(keep, total) if isinstance(event, ChunkDone)]
    found = forecast(keep, total)
    assert (found.peak_bytes, found.final_bytes) == (max(held), held[-1])


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5])
def test_unmeasured_roles_are_taken_for_those_that_take_the_most(stream, ratio):
    held = [event.kv_bytes for event in stream(DummyForcing(ratio), 30) if isinstance(event, ChunkDone)]
    found = forecast(DummyForcing(ratio), 30)
    assert found.peak_bytes >= max(held) and found.final_bytes >= held[-1]
    dense = forecast(Dense(), 30)
    assert found.final_bytes < found.peak_bytes < dense.peak_bytes or ratio < 0.5


@pytest.mark.parametrize(
    ("keep", "total", "bound"),
    [
        (DummyForcing(0.5), 30, True),
        (DummyForcing(0.5), 3, False),  # over before heads are measured
        (DummyForcing(roles=((0, 1, 2, 2),) * 2), 30, False),
        (Window(1, 7), 30, False),
        (Dense(), 30, False),
    ],
)
def test_a_forecast_is_a_bound_where_it_depends_on_heads_to_be_measured(keep, total, bound):
    assert forecast(keep, total).bound is bound


def test_a_long_forecast_allocates_nothing_and_is_flat():
    short, long = (forecast(DummyForcing(), total) for total in (30, 3000))
    assert short == long


def test_a_start_image_makes_the_first_chunk_shorter():
    found = forecast(Dense(), 22, first=1)
    assert found.final_bytes == 2 * 2 * 22 * 4 * 48 * 4  # k and v, layers, frames, tokens, width, fp32


@pytest.mark.parametrize("keep", [DummyForcing(1.0), DummyForcing(1.0, reclassify="never"), Window(1, 7), Dense()])
@pytest.mark.parametrize("total", [9, 15, 18, 30])
def test_a_recache_needs_the_context_whole_once_more(tiny_wan, prompt, keep, total):
    """Heads that have been grouped start over with all frames that are computed anew, and the next chunk."""
    recached = 6
    config = StreamConfig((1.0, 0.0), 3, total, (4, 4), channels=4, memory=MemoryConfig(keep))
    video = config.shape_for(tiny_wan, prompt())
    found = forecast_kv(config.memory, video, recached)
    later = [ScheduledPrompt(frame, prompt(seed=2)) for frame in (10, 20) if frame < total]
    prompts = PromptSchedule(prompt(), later, PromptSwitch("recache", recached))
    held = []
    with contextlib.closing(BackboneDenoiser(tiny_wan, prompt(), config.memory, video)) as denoiser:
        for _ in stream_chunks(denoiser, config, SeededNoise(0), prompts=prompts):
            held.append(denoiser.status.bytes)
    assert found.final_bytes == held[-1]
    if getattr(keep, "reclassify", "prompt") == "never":  # a forecast does not tell: heads might be measured again
        assert found.peak_bytes >= max(held)
    else:
        assert found.peak_bytes == max(held)
