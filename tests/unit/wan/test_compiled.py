"""Compiled parts of blocks: the same numbers, and nothing compiled for a second chunk, layer or prompt."""

import logging
import shutil

import pytest
import torch
from counting_backend import Counting

from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, HeadsClassified
from dummy_forcing.core.stream.given_latents import NOTHING_GIVEN, GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.wan.compiled import compiled_parts
from dummy_forcing.core.wan.forward import STANDALONE, Runtime


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def config(opening=0, chunks=4):
    return StreamConfig(
        sigmas=(1.0, 0.6, 0.0),
        chunk_frames=2,
        total_frames=opening + 2 * chunks,
        latent_size=(4, 6),
        channels=4,
        memory=MemoryConfig(DummyForcing(classification_chunk=1)),
        opening_frames=opening,
    )


def video(model, config, runtime, compiled=None, seed=0):
    """Latents, and how much had been compiled after each chunk."""
    opening = (
        GivenLatents(torch.ones(1, 4, config.opening_frames, 4, 6), None)
        if config.opening_frames
        else NOTHING_GIVEN
    )
    text = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(seed))
    latents, counts, roles = [], [], None
    for event in stream_video(model, text, config, SeededNoise(seed), runtime=runtime, given=opening):
        if isinstance(event, HeadsClassified):
            roles = event.roles
        if isinstance(event, ChunkDone):
            latents.append(event.latents)
            counts.append(compiled.compiled if compiled else 0)
    assert roles is not None
    return torch.cat(latents, dim=2), counts


def test_each_part_is_compiled_once(tiny_wan):
    """For all layers, passes and chunks, through growing history and regrouped heads; and for the next video."""
    backend = Counting()
    runtime = Runtime(parts=compiled_parts(backend))
    found, counts = video(tiny_wan, config(), runtime, backend)
    assert counts == [3] * 4
    assert torch.equal(found, video(tiny_wan, config(), STANDALONE)[0])
    assert video(tiny_wan, config(chunks=5), runtime, backend, seed=1)[1] == [3] * 5


def test_a_first_chunk_of_another_length_is_compiled_once_more(tiny_wan):
    backend = Counting()
    found, counts = video(tiny_wan, config(opening=1), Runtime(parts=compiled_parts(backend)), backend)
    assert counts == [3, 6, 6, 6, 6]
    assert torch.equal(found, video(tiny_wan, config(opening=1), STANDALONE)[0])


def test_what_cannot_be_compiled_costs_one_line(tiny_wan, caplog):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    caplog.set_level(logging.WARNING, logger="dummy_forcing")
    found, _ = video(tiny_wan, config(), Runtime(parts=compiled_parts(broken)))
    assert torch.equal(found, video(tiny_wan, config(), STANDALONE)[0])
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and "no compiler here" in lines[0] and "goes on without it" in lines[0]


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_inductor_gives_the_same_within_rounding(tiny_wan):
    found, _ = video(tiny_wan, config(), Runtime(parts=compiled_parts()))
    torch.testing.assert_close(found, video(tiny_wan, config(), STANDALONE)[0], atol=1e-4, rtol=1e-4)
