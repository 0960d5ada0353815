"""Prompts that change: the schedule's arithmetic, and every switch against a slow run without a cache."""

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, ContextComputed, HeadsClassified, PassDone
from dummy_forcing.core.stream.given_latents import GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompts import SWITCH_METHODS, PromptSchedule, PromptSwitch, ScheduledPrompt
from dummy_forcing.core.stream.rollout import ImageAnchor, Rollout

SIGMAS = (1.0, 0.9, 0.5, 0.0)


def clock(chunk, chunk_frames=3):
    return ChunkClock(chunk, chunk * chunk_frames, chunk_frames, 4, 0, 1.0, False)


def number(value, tokens=5):
    return torch.full((1, tokens, 16), float(value))


def schedule(later=(), method="cross-attention", **options):
    prompts = [ScheduledPrompt(frame, number(value)) for frame, value in later]
    return PromptSchedule(number(0), prompts, PromptSwitch(method, **options))


def asked(prompts, chunks):
    """What a loop would do before each chunk: (value of the prompt, whether a new one begins), or None."""
    changes = (prompts.before(clock(chunk)) for chunk in range(chunks))
    return [None if change is None else (change.text[0, 0, 0].item(), change.starts) for change in changes]


@given(st.lists(st.integers(1, 40), unique=True, min_size=1, max_size=5).map(sorted))
def test_a_prompt_begins_with_the_chunk_that_holds_its_frame(frames):
    changes = asked(schedule([(frame, frame) for frame in frames]), 15)
    expected = [max((frame for frame in frames if frame // 3 == chunk), default=None) for chunk in range(15)]
    assert changes == [None if frame is None else (frame, True) for frame in expected]


@given(chunks=st.integers(1, 6))
def test_interpolation_goes_in_equal_steps_and_ends_at_the_prompt_itself(chunks):
    changes = asked(schedule([(3, 12)], "interpolate", chunks=chunks), 9)
    steps = [pytest.approx(12 * step / chunks) for step in range(1, chunks + 1)]
    assert changes == [None, *((value, index == 0) for index, value in enumerate(steps)), *[None] * (8 - chunks)]


def test_an_interpolation_under_way_goes_on_to_another_prompt_from_where_it_is():
    assert asked(schedule([(0 + 3, 8), (9, 16)], "interpolate", chunks=4), 7) == [
        None,
        (2.0, True),
        (4.0, False),
        (7.0, True),
        (10.0, False),
        (13.0, False),
        (16.0, False),
    ]


def test_a_prompt_asked_for_while_it_runs_holds_from_the_next_chunk_and_the_last_call_counts():
    prompts = schedule([(9, 9)])
    assert asked(prompts, 1) == [None]
    prompts.change(number(4))
    prompts.change(number(5))
    assert prompts.before(clock(1)).text[0, 0, 0] == 5
    assert prompts.before(clock(2)) is None
    prompts.change(number(6))
    assert prompts.before(clock(3)).text[0, 0, 0] == 6  # and not the 9 that is due here


def test_prompts_may_be_changed_from_other_threads():
    prompts, seen, stop = schedule(), [], threading.Event()

    def ask(first):
        for value in range(first, first + 200):
            prompts.change(number(value))

    def stream():
        while not stop.is_set():
            change = prompts.before(clock(1))
            if change is not None:
                assert torch.equal(change.text, number(change.text[0, 0, 0].item()))
                seen.append(change.text[0, 0, 0].item())

    loop = threading.Thread(target=stream)
    loop.start()
    askers = [threading.Thread(target=ask, args=(1000 * index,)) for index in range(1, 4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    stop.set()
    loop.join()
    change = prompts.before(clock(2))
    last = seen[-1] if change is None else change.text[0, 0, 0].item()
    assert last in (1199, 2199, 3199)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("later", [[(0, 1)], [(-3, 1)], [(6, 1), (3, 2)], [(3, 1), (3, 2)]])
def test_times_must_rise_from_above_0(later):
    with pytest.raises(DummyForcingError, match="expected rising numbers above 0"):
        schedule(later)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fade"}, "'fade' is not known; expected one of cross-attention, recache, flush, interpolate"),
        ({"recache_frames": 0}, "recache_frames of a prompt switch is 0; expected at least 1"),
        ({"flush_frames": 0}, "flush_frames"),
        ({"chunks": 0}, "chunks"),
    ],
)
def test_switches_that_make_no_sense(options, message):
    with pytest.raises(DummyForcingError, match=message):
        PromptSwitch(**options)


def test_prompts_of_other_lengths_cannot_be_interpolated():
    switch = PromptSwitch("interpolate")
    message = "prompts of 5 and 7 tokens cannot be interpolated; encode both prompts with the same text encoder"
    with pytest.raises(DummyForcingError, match=message):
        PromptSchedule(number(0), [ScheduledPrompt(3, number(1, 7))], switch)
    with pytest.raises(DummyForcingError, match=message):
        PromptSchedule(number(0), [], switch).change(number(1, 7))
    PromptSchedule(number(0), [ScheduledPrompt(3, number(1, 7))], PromptSwitch("recache"))


@pytest.fixture
def stream(tiny_wan, make_text):
    """A function: a small video, under a second prompt from a frame on."""

    def start(at=None, method="cross-attention", total=21, given=None, anchor=None, keep=None, **changes):
        options = {
            name: changes.pop(name) for name in ("recache_frames", "flush_frames", "chunks") if name in changes
        }
        values = {"sigmas": SIGMAS, "chunk_frames": 3, "latent_size": (4, 4), "channels": 4}
        memory = changes.pop("memory", MemoryConfig(keep or Dense()))
        config = StreamConfig(total_frames=total, memory=memory, **{**values, **changes})
        later = [] if at is None else [ScheduledPrompt(at, make_text(2))]
        prompts = PromptSchedule(make_text(1), later, PromptSwitch(method, **options))
        noise, given = SeededNoise(0), given or GivenLatents()
        return stream_video(tiny_wan, make_text(1), config, noise, given=given, prompts=prompts, anchor=anchor)

    return start


@pytest.fixture
def denoised(slow):
    """A function: a chunk by hand, from its noise, over context frames."""

    def chunk(index, text, context, start=None):
        noise = SeededNoise(0)
        x = noise.draw(index, 0, slow.shape(3))
        for step, sigma in enumerate(SIGMAS[:-1]):
            x, _ = slow.run(x, sigma, 3 * index if start is None else start, text, context)
            after = SIGMAS[step + 1]
            if after:
                x = (1 - after) * x + after * noise.draw(index, step + 1, slow.shape(3))
        return x

    return chunk


def chunk_of(video, index):
    return video[:, :, 3 * index : 3 * index + 3]


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


KEEPS = [
    pytest.param(Dense(), id="dense"),
    pytest.param(Window(3, 9), id="window"),
    pytest.param(DummyForcing(), id="dummy forcing"),
]


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("method", SWITCH_METHODS)
def test_nothing_changes_before_the_switch_and_everything_after_it(stream, latents_of, keep, method):
    plain, found = latents_of(stream(keep=keep)), latents_of(stream(12, method, keep=keep))
    assert torch.equal(found[:, :, :12], plain[:, :, :12])
    for chunk in range(4, 7):
        assert (chunk_of(found, chunk) - chunk_of(plain, chunk)).abs().max() > 1e-4


def test_a_prompt_that_stays_the_same_changes_nothing_but_rounding(stream, tiny_wan, make_text, latents_of):
    """Recomputing under the same prompt gives the same keys and values."""
    later = [ScheduledPrompt(12, make_text(1))]
    prompts = PromptSchedule(make_text(1), later, PromptSwitch("recache", recache_frames=6))
    config = StreamConfig(SIGMAS, 3, 21, (4, 4), channels=4)
    found = latents_of(stream_video(tiny_wan, make_text(1), config, SeededNoise(0), prompts=prompts))
    close(found, latents_of(stream()))


def test_cross_attention_keeps_old_keys_and_values(stream, slow, denoised, make_text, latents_of):
    found = latents_of(stream(6))
    past = slow.clean(found[:, :, :6].split(3, dim=2), make_text(1))
    close(chunk_of(found, 2), denoised(2, make_text(2), past))
    past += slow.run(chunk_of(found, 2), 0.0, 6, make_text(2), past)[1]
    close(chunk_of(found, 3), denoised(3, make_text(2), past))


@pytest.mark.parametrize("frames", [1, 3, 5, 6, 12])
def test_recache_of_a_dense_memory(stream, slow, denoised, make_text, latents_of, frames):
    """The newest chunks are computed anew over what came before them, which keeps the old prompt's keys."""
    found, old, new = latents_of(stream(12, "recache", recache_frames=frames)), make_text(1), make_text(2)
    again = -(-frames // 3)
    chunks = found[:, :, :12].split(3, dim=2)
    past = slow.clean(chunks[: 4 - again], old) if again < 3 else []
    # Where only the first chunk is left, it is computed anew too: nothing speaks for the old prompt.
    first = 4 - again if past else 0
    for chunk in range(first, 4):
        past += slow.run(chunks[chunk], 0.0, 3 * chunk, new, past)[1]
    close(chunk_of(found, 4), denoised(4, new, past))


def test_recache_of_a_window_keeps_the_sink(stream, slow, denoised, make_text, latents_of, keep_newest):
    found, old, new = (
        latents_of(stream(15, "recache", keep=Window(3, 9), recache_frames=6)),
        make_text(1),
        make_text(2),
    )
    chunks = found[:, :, :15].split(3, dim=2)
    past = slow.run(chunks[0], 0.0, 0, old)[1]
    for chunk in (3, 4):
        past += slow.run(chunks[chunk], 0.0, 3 * chunk, new, past)[1]
    close(chunk_of(found, 5), denoised(5, new, past[:3] + past[-3:]))


@pytest.mark.parametrize("frames", [6, 12])
def test_recache_under_dummy_forcing_computes_a_dense_memory_and_measures_heads_again(
    stream, slow, denoised, make_text, latents_of, frames
):
    events = list(stream(15, "recache", keep=DummyForcing(), recache_frames=frames))
    found, new = latents_of(events), make_text(2)
    chunks = found[:, :, :15].split(3, dim=2)
    past = []
    for chunk in (0, *range(5 - frames // 3, 5)):
        past += slow.run(chunks[chunk], 0.0, 3 * chunk, new, past)[1]
    close(chunk_of(found, 5), denoised(5, new, past))
    assert [where.clock.chunk for where in chunk_behind_roles(events)] == [1, 5]
    held = [event.history_frames for event in events if isinstance(event, ChunkDone)]
    assert held[5] == held[6] < 3  # a neighbor head's, at most


def chunk_behind_roles(events):
    return [events[index + 1] for index, event in enumerate(events) if isinstance(event, HeadsClassified)]


def test_recache_under_dummy_forcing_may_keep_the_roles(stream, latents_of):
    keep = DummyForcing(reclassify="never")
    events = list(stream(15, "recache", keep=keep, recache_frames=6))
    assert [where.clock.chunk for where in chunk_behind_roles(events)] == [1]
    (roles,) = (tuple(map(tuple, e.roles.tolist())) for e in events if isinstance(e, HeadsClassified))
    given = list(stream(15, "recache", keep=DummyForcing(roles=roles), recache_frames=6))
    close(latents_of(events), latents_of(given))
    held = [event.history_frames for event in events if isinstance(event, ChunkDone)]
    assert set(held[1:]) == {held[1]}


def test_recache_in_the_second_chunk_computes_the_first_anew(stream, slow, denoised, make_text, latents_of):
    for keep in (Dense(), Window(3, 9), DummyForcing()):
        found, new = latents_of(stream(3, "recache", keep=keep)), make_text(2)
        past = slow.run(chunk_of(found, 0), 0.0, 0, new)[1]
        close(chunk_of(found, 1), denoised(1, new, past))


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_flush_keeps_the_first_frame_and_the_newest(stream, slow, denoised, make_text, latents_of, frames):
    found = latents_of(stream(12, "flush", flush_frames=frames))
    past = slow.clean(found[:, :, :12].split(3, dim=2), make_text(1))
    left = [past[0], *past[-frames:]]
    close(chunk_of(found, 4), denoised(4, make_text(2), left))
    left += slow.run(chunk_of(found, 4), 0.0, 12, make_text(2), left)[1]
    close(chunk_of(found, 5), denoised(5, make_text(2), left))


def test_flush_under_window_relative_positions(
    stream, slow, denoised, make_text, latents_of, move_frame, keep_newest
):
    """Infinity-RoPE: what is left stands right before the next chunk."""
    memory = MemoryConfig(Window(1, 6), Relative())
    found = latents_of(stream(12, "flush", memory=memory))
    past = []
    for chunk in range(4):
        gap = max(0, len(past) - 3)
        left = [move_frame(past[0], gap), *past[-2:]] if len(past) > 2 else past
        past += slow.run(chunk_of(found, chunk), 0.0, 3 * chunk, make_text(1), left)[1]
    close(chunk_of(found, 4), denoised(4, make_text(2), [move_frame(past[0], 10), past[-1]]))


def test_interpolation_goes_over_chunks(stream, slow, denoised, make_text, latents_of):
    found, old, new = latents_of(stream(6, "interpolate", chunks=2)), make_text(1), make_text(2)
    past = slow.clean(found[:, :, :6].split(3, dim=2), old)
    half = torch.lerp(old, new, 0.5)
    close(chunk_of(found, 2), denoised(2, half, past))
    past += slow.run(chunk_of(found, 2), 0.0, 6, half, past)[1]
    close(chunk_of(found, 3), denoised(3, new, past))


@pytest.mark.parametrize("method", SWITCH_METHODS)
def test_a_prompt_due_within_an_opening_begins_with_the_first_generated_chunk(
    stream, slow, denoised, make_text, latents_of, method
):
    opening = torch.randn(1, 4, 6, 4, 4, generator=torch.Generator().manual_seed(5))
    events = list(stream(3, method, total=12, given=GivenLatents(opening), opening_frames=6, chunks=1))
    found, text = latents_of(events), make_text(2 if method == "recache" else 1)
    past = slow.clean(opening.split(3, dim=2), text)
    if method == "flush":
        past = [past[0], past[-1]]
    close(chunk_of(found, 2), denoised(2, make_text(2), past))
    again = [event.clock.chunk for event in events if isinstance(event, ContextComputed)]
    assert again == ([0, 1] if method == "recache" else [])


@pytest.mark.parametrize("method", SWITCH_METHODS)
def test_at_the_beginning_of_a_rollout_the_context_is_computed_under_the_new_prompt(
    stream, slow, denoised, make_text, latents_of, method
):
    found = latents_of(stream(6, method, total=12, rollout=Rollout(6, 3), chunks=1))
    past = slow.run(chunk_of(found, 1), 0.0, 0, make_text(2))[1]
    close(chunk_of(found, 2), denoised(2, make_text(2), past, start=3))


def test_within_a_rollout_the_anchored_context_is_computed_again(stream, slow, denoised, make_text):
    """And not the latents that stood there before the first frame was given as an image."""
    anchor = ImageAnchor(lambda frame: frame.movedim(1, 2).tanh(), 3)
    found = []
    for event in stream(12, "recache", total=15, rollout=Rollout(9, 3), anchor=anchor):
        if isinstance(event, ChunkDone):
            found.append(event.latents)
            anchor.add(event.latents.movedim(2, 1).repeat_interleave(4, dim=1))
    first = found[2][:, :, :1].tanh()
    context = torch.cat([first, found[2][:, :, 1:]], dim=2)
    past = slow.clean([context, found[3]], make_text(2))
    close(found[4], denoised(4, make_text(2), past, start=6))


@pytest.mark.parametrize("chunk", [4, 7, 8])
def test_heads_are_measured_again_under_a_prompt_that_begins_with_a_rollout_or_in_it(stream, chunk):
    """Roles that have been kept over rollouts are no given ones."""
    events = list(stream(3 * chunk, "recache", total=36, rollout=Rollout(12, 3), keep=DummyForcing()))
    assert [where.clock.chunk for where in chunk_behind_roles(events)] == [1, chunk]
    keep = DummyForcing(reclassify="never")
    kept = list(stream(3 * chunk, "recache", total=36, rollout=Rollout(12, 3), keep=keep))
    assert [where.clock.chunk for where in chunk_behind_roles(kept)] == [1]


def test_the_stream_can_be_changed_while_it_runs(tiny_wan, make_text, latents_of, stream):
    prompts = PromptSchedule(make_text(1), [], PromptSwitch("recache"))
    config = StreamConfig(SIGMAS, 3, 21, (4, 4), channels=4)
    found = []
    for event in stream_video(tiny_wan, make_text(1), config, SeededNoise(0), prompts=prompts):
        found.append(event)
        if isinstance(event, PassDone) and event.clock.chunk == 3:
            prompts.change(make_text(2))
    assert torch.equal(latents_of(found), latents_of(stream(12, "recache")))


def test_a_recache_counts_for_the_time_of_its_chunk_and_not_for_the_passes(stream):
    events = list(stream(12, "recache"))
    assert sum(isinstance(event, PassDone) for event in events) == 4 * 7
    assert [event.clock.chunk for event in events if isinstance(event, ContextComputed)] == [0, 1, 2, 3]


def test_a_second_recache_before_heads_are_measured_again_goes_back_across_the_gap(
    tiny_wan, slow, denoised, make_text, latents_of
):
    """The first one has left a gap behind the opening and the memory dense, so what stood before stays."""
    later = [ScheduledPrompt(36, make_text(2)), ScheduledPrompt(39, make_text(3))]
    prompts = PromptSchedule(make_text(1), later, PromptSwitch("recache", recache_frames=3))
    memory = MemoryConfig(DummyForcing(classification_chunk=5))
    config = StreamConfig(SIGMAS, 3, 42, (4, 4), channels=4, memory=memory, rollout=Rollout(27, 3))
    found = latents_of(stream_video(tiny_wan, make_text(1), config, SeededNoise(0), prompts=prompts))
    past = slow.run(chunk_of(found, 8), 0.0, 0, make_text(2))[1]
    past += slow.run(chunk_of(found, 11), 0.0, 9, make_text(2), past)[1]
    past += slow.run(chunk_of(found, 12), 0.0, 12, make_text(3), past)[1]
    close(chunk_of(found, 13), denoised(13, make_text(3), past, start=15))
