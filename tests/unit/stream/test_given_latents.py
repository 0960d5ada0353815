"""Given latents: a video that begins with them, and one that is made from them."""

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, HeadsClassified, PassDone
from dummy_forcing.core.stream.given_latents import GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.wan.forward import STANDALONE

TEXT = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def run(tiny_wan):
    """A function that streams with given latents and returns all events."""

    def stream(given=None, keep=None, **changes):
        values = {"sigmas": (1.0, 0.6, 0.0), "chunk_frames": 3, "total_frames": 9, "latent_size": (4, 6)}
        config = StreamConfig(**{**values, "channels": 4, "memory": MemoryConfig(keep or Dense()), **changes})
        return list(stream_video(tiny_wan, TEXT, config, SeededNoise(0), (), STANDALONE, given or GivenLatents()))

    return stream


def chunks(events):
    return [event for event in events if isinstance(event, ChunkDone)]


def video(events):
    return torch.cat([event.latents for event in chunks(events)], dim=2)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
def test_an_opening_comes_back_as_it_was_and_the_rest_in_whole_chunks(run, frames):
    opening = torch.randn(1, 4, frames, 4, 6)
    events = run(GivenLatents(opening), total_frames=frames + 6, opening_frames=frames)
    assert torch.equal(video(events)[:, :, :frames], opening)
    lengths = [event.latents.shape[2] for event in chunks(events)]
    assert lengths[-2:] == [3, 3] and sum(lengths) == frames + 6
    starts = [event.clock.start_frame for event in chunks(events)]
    assert starts == [sum(lengths[:index]) for index in range(len(lengths))]


def test_an_opening_gets_a_clean_pass_only(run):
    events = run(GivenLatents(torch.zeros(1, 4, 1, 4, 6)), total_frames=4, opening_frames=1)
    passes = [event.clock for event in events if isinstance(event, PassDone)]
    assert [clock.clean for clock in passes] == [True, False, False, True]


def test_a_video_goes_on_from_its_own_frames_as_if_it_had_not_stopped(run):
    """Chunk noise is keyed by the chunk's number, and the opening's chunks count."""
    whole = video(run())
    resumed = run(GivenLatents(whole[:, :, :6]), opening_frames=6)
    torch.testing.assert_close(video(resumed), whole, atol=1e-5, rtol=0)


def test_a_source_at_full_noise_changes_nothing(run):
    torch.testing.assert_close(video(run(GivenLatents(source=torch.randn(1, 4, 9, 4, 6)))), video(run()))


def test_the_less_noise_the_closer_to_the_source(run):
    source = torch.randn(1, 4, 9, 4, 6, generator=torch.Generator().manual_seed(2))
    distances = [
        (video(run(GivenLatents(source=source), sigmas=(level, 0.0))) - source).square().mean().item()
        for level in (0.05, 0.3, 0.9)
    ]
    assert distances == sorted(distances) and distances[0] < 0.05


@pytest.mark.parametrize(
    ("given", "changes", "message"),
    [
        (GivenLatents(), {"opening_frames": 3}, "none were given"),
        (GivenLatents(torch.zeros(1, 4, 1, 4, 6)), {}, r"expected \[1, 4, 0, 4, 6\]"),
        (GivenLatents(torch.zeros(1, 4, 3, 4, 8)), {"opening_frames": 3}, "latent shape"),
        (GivenLatents(source=torch.zeros(1, 4, 6, 4, 6)), {}, r"source video.*expected \[1, 4, 9, 4, 6\]"),
        (GivenLatents(source=torch.zeros(1, 4, 6, 4, 6)), {"total_frames": None}, "without end"),
    ],
)
def test_latents_that_do_not_fit_are_refused(run, given, changes, message):
    with pytest.raises(DummyForcingError, match=message):
        run(given, **changes)


@pytest.mark.parametrize(("total", "opening"), [(5, 1), (3, 3), (2, 4)])
def test_what_the_opening_leaves_must_be_whole_chunks(run, total, opening):
    with pytest.raises(DummyForcingError, match=f"use {opening + 3} or {opening + 6} latent frames"):
        run(GivenLatents(torch.zeros(1, 4, opening, 4, 6)), total_frames=total, opening_frames=opening)


@pytest.mark.parametrize(("chunk", "opening", "due"), [(3, 0, 1), (3, 1, 2), (1, 0, 2), (1, 1, 2), (3, 2, 1)])
def test_heads_are_classified_once_the_history_is_more_than_frame_0(run, chunk, opening, due):
    given = GivenLatents(torch.zeros(1, 4, opening, 4, 6) if opening else None)
    events = run(given, DummyForcing(), chunk_frames=chunk, total_frames=opening + 12, opening_frames=opening)
    where = next(i for i, event in enumerate(events) if isinstance(event, HeadsClassified))
    assert events[where + 1].clock.chunk == due
    assert events[where + 1].clock.start_frame >= 2
