"""Context noise, the clean pass that refines, and video to video, against slow loops."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, PassDone
from dummy_forcing.core.stream.given_latents import GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.sigmas import levels_from_strength

FOUR = (1.0, 0.94, 0.83, 0.62, 0.0)


@pytest.fixture
def stream(tiny_wan, make_text):
    def start(total=12, given=None, **changes):
        values = {"sigmas": FOUR, "chunk_frames": 3, "latent_size": (4, 4), "channels": 4}
        config = StreamConfig(total_frames=total, **{**values, **changes})
        return stream_video(tiny_wan, make_text(1), config, SeededNoise(0), given=given or GivenLatents())

    return start


@pytest.fixture
def literal(slow, make_text):
    """The common loop by hand; keys and values are computed anew, with the same noise on the same latents."""

    def video(sigmas, level, refine, chunks=4, first=None, source=None):
        noise, text, done, kept = SeededNoise(0), make_text(1), [], []
        for chunk in range(chunks):
            levels = first if first and chunk == 0 else sigmas
            past = []
            for index, noisy in enumerate(kept):
                past += slow.run(noisy, level, 3 * index, text, past)[1]
            x = noise.draw(chunk, 0, slow.shape(3))
            if source is not None:
                x = (1 - levels[0]) * source[:, :, 3 * chunk : 3 * chunk + 3] + levels[0] * x
            for index, (sigma, after) in enumerate(itertools.pairwise(levels)):
                x, _ = slow.run(x, sigma, 3 * chunk, text, past)
                if after:
                    x = (1 - after) * x + after * noise.draw(chunk, index + 1, slow.shape(3))
            fresh = noise.draw(chunk, len(levels) - 1, slow.shape(3))
            kept.append((1 - level) * x + level * fresh if level else x)
            if refine:
                x, _ = slow.run(kept[-1], level, 3 * chunk, text, past)
            done.append(x)
        return torch.cat(done, dim=2)

    return video


@pytest.mark.parametrize("sigmas", [FOUR, (*FOUR[:3], 0.0), (*FOUR[:2], 0.0), (1.0, 0.0)])
@pytest.mark.parametrize(("level", "refine"), [(0.0, False), (0.1, False), (0.02, True), (0.2, True)])
def test_the_loop_is_the_literal_one(stream, literal, latents_of, sigmas, level, refine):
    found = latents_of(stream(sigmas=sigmas, context_noise=level, refine=refine))
    torch.testing.assert_close(found, literal(sigmas, level, refine), atol=2e-5, rtol=0)


def test_a_first_chunk_of_more_passes(stream, literal, latents_of):
    for level, refine in ((0.0, False), (0.1, True)):
        found = latents_of(stream(sigmas=(1.0, 0.0), first_sigmas=FOUR, context_noise=level, refine=refine))
        torch.testing.assert_close(found, literal((1.0, 0.0), level, refine, first=FOUR), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("opening", "passes"), [(0, [5, 2, 2]), (1, [1, 5, 2, 2]), (6, [1, 1, 5, 2, 2])])
def test_the_first_generated_chunk_has_more_passes_also_behind_an_opening(stream, opening, passes):
    """As in Causal Forcing++'s code, which counts generated blocks."""
    given = GivenLatents(torch.zeros(1, 4, opening, 4, 4) if opening else None)
    events = stream(opening + 9, given, opening_frames=opening, sigmas=(1.0, 0.0), first_sigmas=FOUR)
    found = [event.clock.chunk for event in events if isinstance(event, PassDone)]
    assert [found.count(chunk) for chunk in range(len(passes))] == passes


@pytest.mark.parametrize("refine", [False, True])
def test_refining_takes_no_pass_more(stream, refine):
    passes = [e for e in stream(context_noise=0.1, refine=refine) if isinstance(e, PassDone)]
    assert len(passes) == 4 * 5
    assert {event.clock.sigma for event in passes if event.clock.clean} == {0.1}


def test_what_refines_is_what_is_reported_and_kept(stream):
    events = list(stream(context_noise=0.1, refine=True))
    results = {e.clock.chunk: e.latents for e in events if isinstance(e, ChunkDone)}
    for event in events:
        if isinstance(event, PassDone) and event.clock.clean:
            assert torch.equal(event.estimate, results[event.clock.chunk])


def test_an_opening_is_not_refined(stream, latents_of):
    opening = torch.randn(1, 4, 3, 4, 4)
    found = latents_of(stream(12, GivenLatents(opening), opening_frames=3, context_noise=0.1, refine=True))
    assert torch.equal(found[:, :, :3], opening)


def test_heads_are_measured_in_the_pass_that_refines(stream, latents_of):
    memory = MemoryConfig(DummyForcing())
    events = list(stream(18, memory=memory, context_noise=0.1, refine=True))
    dense = latents_of(stream(18, context_noise=0.1, refine=True))
    assert torch.equal(latents_of(events)[:, :, :6], dense[:, :, :6])
    assert not torch.allclose(latents_of(events)[:, :, 6:], dense[:, :, 6:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_noise": -0.1}, "context noise is -0.1; expected a noise level from 0 below 1"),
        ({"context_noise": 1.0}, "context noise is 1.0"),
        ({"context_noise": float("nan")}, "context noise is nan"),
        ({"refine": True}, "cannot refine latents without noise; set a context noise"),
    ],
)
def test_levels_that_make_no_sense(stream, changes, message):
    with pytest.raises(DummyForcingError, match=message):
        next(stream(**changes))


@pytest.mark.parametrize("strength", [0.3, 0.83, 0.9, 1.0])
def test_video_to_video(stream, literal, latents_of, strength):
    source = torch.randn(1, 4, 12, 4, 4, generator=torch.Generator().manual_seed(7))
    sigmas = levels_from_strength(FOUR, strength)
    found = latents_of(stream(given=GivenLatents(source=source), sigmas=sigmas))
    torch.testing.assert_close(found, literal(sigmas, 0.0, False, source=source), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("strength", "levels"),
    [
        (1.0, FOUR),
        (0.94, (0.94, 0.83, 0.62, 0.0)),
        (0.7, (0.7, 0.62, 0.0)),
        (0.62, (0.62, 0.0)),
        (0.1, (0.1, 0.0)),
    ],
)
def test_levels_of_a_strength(strength, levels):
    assert levels_from_strength(FOUR, strength) == levels


@given(st.floats(0, 1, exclude_min=True))
def test_a_strength_begins_at_itself_and_falls_to_0(strength):
    levels = levels_from_strength(FOUR, strength)
    assert levels[0] == strength and levels[-1] == 0
    assert sorted(levels, reverse=True) == list(levels) and len(set(levels)) == len(levels)
    assert set(levels[1:]) <= set(FOUR)


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.01, float("nan")])
def test_strengths_that_make_no_sense(strength):
    with pytest.raises(DummyForcingError, match="expected a share above 0 and up to 1"):
        levels_from_strength(FOUR, strength)


@pytest.mark.parametrize("frames", range(1, 9))
def test_a_video_of_any_length_is_extended_as_if_it_had_not_ended(stream, slow, make_text, latents_of, frames):
    """What it has beyond whole chunks comes first."""
    opening = torch.randn(1, 4, frames, 4, 4, generator=torch.Generator().manual_seed(frames))
    found = latents_of(stream(frames + 3, GivenLatents(opening), opening_frames=frames, sigmas=(1.0, 0.0)))
    ragged, whole = frames % 3, frames // 3
    past = slow.clean(opening.split([*([ragged] if ragged else []), *[3] * whole], dim=2), make_text(1))
    chunk = whole + (ragged > 0)
    x, _ = slow.run(SeededNoise(0).draw(chunk, 0, slow.shape(3)), 1.0, frames, make_text(1), past)
    assert torch.equal(found[:, :, :frames], opening)
    torch.testing.assert_close(found[:, :, frames:], x, atol=2e-5, rtol=0)
