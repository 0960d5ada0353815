"""A plan of later prompts against the video: what is refused before the first pass, and what is advised."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.prompt_times import PromptPlan, parse_time

TEXT = torch.zeros(1, 5, 16)


def config(total=21, opening=0):
    return StreamConfig((1.0, 0.0), 3, total, (4, 4), opening_frames=opening)


def plan(*times, texts=None):
    return PromptPlan(tuple(map(parse_time, times)), tuple(texts or [TEXT] * len(times)), None)


def refusal(found, video):
    with pytest.raises(DummyForcingError) as error:
        found.check(video, 16)
    return str(error.value)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["99s"], "begins at '99s', but the video lasts 5.062 s and its last chunk is chunk 6"),
        (["chunk 7"], "begins at 'chunk 7', but the video lasts 5.062 s"),
        (["2s", "1s"], "begins at '2s' and the next at '1s'; put the prompts in the order"),
        (["Chunk  3", "2 S"], "begins at 'Chunk  3' and the next at '2 S'; put the prompts in the order"),
        (["0s"], "begins at '0s', with the video itself, which has a first prompt of its own"),
        (["0.3s"], "the video's first prompt would never be seen: the prompt at '0.3s' begins with the same chunk"),
        (["1.5s", "2s"], "the prompt at '1.5s' would never be seen: the prompt at '2s' begins with the same chunk"),
    ],
)
def test_times_that_do_not_fit_are_refused_as_they_were_typed(times, said):
    assert said in refusal(plan(*times), config())


def test_the_last_chunk_is_told_without_advice_that_is_refused():
    assert "make the video longer" in refusal(plan("chunk 6", "4.8s"), config())


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=4), st.integers(1, 30), st.integers(0, 4))
def test_advice_is_accepted_when_it_is_typed(seconds, chunks, opening):
    """The later of two prompts in one chunk gets the chunk that is named."""
    video = config(opening + 3 * chunks, opening)
    times = [f"{each:.3f}s" for each in seconds]
    try:
        plan(*times).check(video, 16)
    except DummyForcingError as error:
        found = re.search(r"the prompt at '([^']*)' begins with the same.*'(chunk \d+)' or more", str(error))
        if found is not None:
            plan(*times[: times.index(found[1])], found[2]).check(video, 16)


@given(st.integers(1, 60), st.integers(0, 7), st.integers(1, 5))
def test_chunk_numbers_stand_for_the_chunks_of_the_video(frame, opening, chunk_frames):
    video = StreamConfig((1.0, 0.0), chunk_frames, opening + 20 * chunk_frames, (4, 4), opening_frames=opening)
    clock = next((each for each in video.chunks() if each.start_frame <= frame < each.end_frame), None)
    assert clock is None or video.chunk_at(frame) == clock.chunk


def test_behind_an_opening_one_prompt_may_wait_for_the_first_chunk_made():
    video = config(6 + 9, opening=6)
    plan("chunk 1", "chunk 3").check(video, 16)
    assert "would never be seen" in refusal(plan("chunk 1", "chunk 2"), video)


def test_prompts_of_other_text_encoders_and_damaged_ones_are_named():
    other, damaged = torch.zeros(1, 5, 8), TEXT.clone()
    damaged[0, 3, 2] = float("nan")
    said = refusal(plan("1s", "2s", texts=[TEXT, other]), config())
    assert "the prompt at '2s' comes from another text encoder: its embedding is 8 wide, the model's 16" in said
    said = refusal(plan("1s", texts=[damaged]), config())
    assert "the prompt at '1s' has NaN or infinite numbers in it" in said


def test_a_prompt_asked_for_while_it_runs_is_checked_too():
    schedule = plan().schedule(TEXT, config(), None)
    for text in (torch.zeros(1, 5, 8), torch.full((1, 5, 16), float("inf"))):
        with pytest.raises(DummyForcingError):
            schedule.change(text)
    schedule.change(TEXT + 1)
