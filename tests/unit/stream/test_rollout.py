"""Memories that start over: Krea Realtime's and CausVid's loops against slow ones.

The slow loops keep no cache: all keys and values are computed from the latents afresh before every pass
(docs/references.md, "Krea Realtime's loop" and "CausVid's rollouts").
"""

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, ContextComputed, HeadsClassified, PassDone
from dummy_forcing.core.stream.given_latents import GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.rollout import ImageAnchor, Rollout

SIGMAS = (1.0, 0.9, 0.5, 0.0)
KREA, CAUSVID = Rollout(frames=6, context=3), Rollout(frames=21, context=3)
LOOPS = [
    pytest.param(KREA, 15, id="krea"),
    pytest.param(CAUSVID, 48, id="causvid"),
    pytest.param(Rollout(frames=9, context=6), 18, id="two chunks of context"),
    pytest.param(Rollout(frames=6, context=0), 15, id="no context"),
]
ROLES = ((0, 1, 2, 2), (1, 1, 0, 2))


def config(rollout, total, **changes):
    values = {"sigmas": SIGMAS, "chunk_frames": 3, "latent_size": (4, 4), "channels": 4}
    return StreamConfig(total_frames=total, rollout=rollout, **{**values, **changes})


@pytest.fixture
def stream(tiny_wan, make_text):
    def start(rollout, total, given=None, anchor=None, **changes):
        settings = config(rollout, total, **changes)
        given = given or GivenLatents()
        return stream_video(tiny_wan, make_text(1), settings, SeededNoise(0), given=given, anchor=anchor)

    return start


def toy_decode(latents, state):
    """As a causal VAE: a first latent gives one frame, the others four; frames [1, T, 4, 4, 4] tell them apart."""
    frames = [latents[:, :, index] + 0.01 * part for index in range(latents.shape[2]) for part in range(4)]
    begins, state["begun"] = not state.get("begun"), True
    return torch.stack(frames[3 if begins else 0 :], dim=1)


def toy_encode(frame):
    """Another latent [1, 4, 1, 4, 4] than the one that the frame was decoded from."""
    assert frame.shape == (1, 1, 4, 4, 4)
    return frame.movedim(1, 2).tanh()


def with_anchor(events, anchor):
    """Hand every chunk's frames to the anchor, as a consumer must."""
    state, found = {}, []
    for event in events:
        if isinstance(event, ChunkDone):
            anchor.add(toy_decode(event.latents, state))
            found.append(event.latents)
    return torch.cat(found, dim=2)


@pytest.fixture
def literal(slow, make_text):
    """Rollouts by hand: context anew from position 0, then chunks as in the common loop."""

    def video(rollout, total, anchored=False, opening=()):
        noise, text, state = SeededNoise(0), make_text(1), {}
        done, pixels, memory = [], [], []  # of the video; of the rollout
        for chunk in range(len(opening) + (total - sum(part.shape[2] for part in opening)) // 3):
            x = opening[chunk] if chunk < len(opening) else None
            frames = 3 if x is None else x.shape[2]
            if sum(part.shape[2] for part in memory) + frames > rollout.frames:
                context = torch.cat(done, dim=2)[:, :, -rollout.context :] if rollout.context else None
                memory = [] if context is None else list(context.split(3, dim=2))
                if anchored:
                    back = 4 * (rollout.context - 1) + 1
                    first = toy_encode(torch.cat(pixels, dim=1)[:, -back : 1 - back])
                    memory[0] = torch.cat([first, memory[0][:, :, 1:]], dim=2)
            past = slow.clean(memory, text)
            if x is None:
                x = noise.draw(chunk, 0, slow.shape(3))
                for index, sigma in enumerate(SIGMAS[:-1]):
                    x, _ = slow.run(x, sigma, len(past), text, past)
                    after = SIGMAS[index + 1]
                    if after:
                        x = (1 - after) * x + after * noise.draw(chunk, index + 1, slow.shape(3))
            done.append(x)
            memory.append(x)
            pixels.append(toy_decode(x, state))
        return torch.cat(done, dim=2)

    return video


@pytest.mark.parametrize(("rollout", "total"), LOOPS)
def test_the_loop_is_the_literal_one(stream, literal, latents_of, rollout, total):
    torch.testing.assert_close(latents_of(stream(rollout, total)), literal(rollout, total), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("rollout", "total"), LOOPS[:3])
def test_the_first_context_frame_is_given_as_an_image(stream, literal, rollout, total):
    anchor = ImageAnchor(toy_encode, rollout.context)
    found = with_anchor(stream(rollout, total, anchor=anchor), anchor)
    torch.testing.assert_close(found, literal(rollout, total, anchored=True), atol=2e-5, rtol=0)
    assert (found - literal(rollout, total)).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [1, 3, 4, 9])
@pytest.mark.parametrize("rollout", [KREA, CAUSVID], ids=["krea", "causvid"])
def test_an_opening_is_part_of_the_rollouts(stream, literal, rollout, frames):
    opening = torch.randn(1, 4, frames, 4, 4, generator=torch.Generator().manual_seed(5))
    parts = opening.split([*([frames % 3] if frames % 3 else []), *[3] * (frames // 3)], dim=2)
    anchor, total = ImageAnchor(toy_encode, rollout.context), frames + 21
    found = with_anchor(stream(rollout, total, GivenLatents(opening), anchor, opening_frames=frames), anchor)
    assert torch.equal(found[:, :, :frames], opening)
    torch.testing.assert_close(found, literal(rollout, total, True, parts), atol=2e-5, rtol=0)


def test_the_anchor_takes_the_last_pixel_frame_of_the_first_context_latent():
    """With a context of 3 latents the 9th frame from the end, as the demo codes of Krea and CausVid do."""
    anchor = ImageAnchor(lambda frame: frame.movedim(-1, 1), context=3)
    for number in range(1, 26):
        anchor.add(torch.full((1, 1, 2, 2, 3), float(number)))
    found = anchor.apply(torch.zeros(1, 3, 3, 2, 2))
    assert torch.equal(found[:, :, 0], torch.full((1, 3, 2, 2), 17.0))
    assert not found[:, :, 1:].any()


def test_an_anchor_without_frames_says_so(stream):
    with pytest.raises(DummyForcingError, match="begins with 9 decoded frames, but 0 were given"):
        list(stream(KREA, 12, anchor=ImageAnchor(toy_encode, 3)))


@pytest.mark.parametrize(("rollout", "total"), LOOPS)
@pytest.mark.parametrize("opening", [0, 1, 6])
def test_passes_are_counted_beforehand(stream, rollout, total, opening):
    total += opening
    given = GivenLatents(torch.zeros(1, 4, opening, 4, 4) if opening else None)
    events = list(stream(rollout, total, given, opening_frames=opening))
    expected = config(rollout, total, opening_frames=opening).total_passes
    assert sum(isinstance(event, PassDone) for event in events) == expected


def test_the_last_chunk_of_a_rollout_has_no_clean_pass(stream):
    clean = [e.clock.chunk for e in stream(CAUSVID, 48) if isinstance(e, PassDone) and e.clock.clean]
    assert clean == [chunk for chunk in range(16) if chunk not in (6, 12)]
    contexts = [e.clock for e in stream(CAUSVID, 48) if isinstance(e, ContextComputed)]
    assert [(clock.chunk, clock.memory_frame, clock.clean) for clock in contexts] == [(6, 0, True), (12, 0, True)]


def test_krea_computes_its_context_before_every_chunk_but_the_first_two(stream):
    """For the second one it is what the first one's clean pass has left."""
    events = [event for event in stream(KREA, 15) if not isinstance(event, PassDone)]
    expected = [(ChunkDone, 0, 0), (ChunkDone, 1, 3)]
    for chunk in (2, 3, 4):
        expected += [(ContextComputed, chunk - 1, 0), (ChunkDone, chunk, 3)]
    assert [(type(event), event.clock.chunk, event.clock.memory_frame) for event in events] == expected


def test_bytes_are_flat_and_those_of_one_rollout(stream):
    frame = 2 * 2 * 4 * 48 * 4
    for rollout in (KREA, CAUSVID):
        events = stream(rollout, None)
        done = [event for event in (next(events) for _ in range(90)) if isinstance(event, ChunkDone)]
        events.close()
        assert {event.kv_bytes for event in done} == {rollout.frames * frame}
        assert len(done) > 12


def test_a_video_within_one_rollout_is_an_ordinary_one(stream, latents_of):
    assert torch.equal(latents_of(stream(CAUSVID, 21)), latents_of(stream(None, 21)))


def test_roles_outlive_rollouts_and_are_announced_once(stream, latents_of):
    events = list(stream(CAUSVID, 60, memory=MemoryConfig(DummyForcing())))
    (roles,) = (event.roles for event in events if isinstance(event, HeadsClassified))
    given = DummyForcing(roles=tuple(map(tuple, roles.tolist())), classification_chunk=1)
    same = list(stream(CAUSVID, 60, memory=MemoryConfig(given)))
    torch.testing.assert_close(latents_of(events), latents_of(same), atol=1e-5, rtol=0)
    assert not torch.equal(latents_of(events), latents_of(stream(CAUSVID, 60, memory=MemoryConfig(Dense()))))


def test_given_roles_work_in_kreas_loop(stream, latents_of):
    """They hold from the first memory that starts over, before chunk 2."""
    events = list(stream(KREA, 15, memory=MemoryConfig(DummyForcing(roles=ROLES))))
    assert [torch.equal(e.roles, torch.tensor(ROLES)) for e in events if isinstance(e, HeadsClassified)] == [True]
    found, dense = latents_of(events), latents_of(stream(KREA, 15))
    assert torch.equal(found[:, :, :6], dense[:, :, :6])
    assert found.isfinite().all()
    assert not torch.allclose(found[:, :, 6:9], dense[:, :, 6:9])


@pytest.mark.parametrize(
    ("rollout", "keep", "fits"),
    [
        (KREA, DummyForcing(), False),
        (KREA, DummyForcing(roles=ROLES), True),
        (KREA, Dense(), True),
        (CAUSVID, DummyForcing(classification_chunk=5), True),
        (CAUSVID, DummyForcing(classification_chunk=6), False),
    ],
)
@pytest.mark.parametrize("total", [60, None])
def test_heads_that_can_never_be_measured_are_refused(rollout, keep, fits, total):
    memory = MemoryConfig(keep)
    if fits:
        assert config(rollout, total, memory=memory).memory == memory
        return
    with pytest.raises(DummyForcingError, match=r"Krea's loop with every chunk.*connect a head profile"):
        config(rollout, total, memory=memory)


@pytest.mark.parametrize("rollout", [Rollout(5, 3), Rollout(9, 4), Rollout(6, -3), Rollout(3, 3)])
def test_rollouts_that_do_not_fit_the_chunks_are_refused(rollout):
    with pytest.raises(DummyForcingError, match="do not fit chunks of 3; use a context of whole chunks"):
        config(rollout, 12)


def test_refining_is_refused():
    with pytest.raises(DummyForcingError, match="no clean pass that could refine it"):
        config(KREA, 12, refine=True, context_noise=0.1)
