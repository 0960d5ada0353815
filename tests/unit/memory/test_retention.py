"""Retention's arithmetic against a cache that is a list."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.memory.retention import Retention

RETENTIONS = st.builds(
    Retention,
    first=st.integers(0, 5),
    last=st.none() | st.integers(0, 9),
    begin=st.integers(0, 7),
)


@dataclass
class ListCache:
    """What a retention means, frame by frame: opening frames for ever, the others in a queue."""

    retention: Retention
    opening: list[int] = field(default_factory=list)
    recent: list[int] = field(default_factory=list)

    def append(self, frame: int) -> None:
        if len(self.opening) < self.retention.first:
            self.opening.append(frame)
        elif frame >= self.retention.begin:
            self.recent.append(frame)
        if self.retention.last is not None:
            del self.recent[: max(0, len(self.recent) - self.retention.last)]

    @property
    def frames(self) -> list[int]:
        return self.opening + self.recent


@given(retention=RETENTIONS, frames=st.integers(0, 40))
@settings(deadline=None, max_examples=300)
def test_kept_held_and_keeps_follow_a_list_cache(retention, frames):
    cache = ListCache(retention)
    for frame in range(frames):
        assert sorted(retention.kept(frame)) == cache.frames
        cache.append(frame)
    assert sorted(retention.kept(frames)) == cache.frames
    assert retention.held(frames) == len(cache.frames)
    assert [frame for frame in range(frames) if retention.keeps(frame, frames)] == cache.frames


@given(retention=RETENTIONS, frames=st.integers(0, 40))
@settings(deadline=None, max_examples=300)
def test_slots_are_a_bijection_onto_a_prefix(retention, frames):
    kept = retention.kept(frames)
    assert [retention.slot(frame) for frame in kept] == list(range(retention.held(frames)))


@given(retention=RETENTIONS, chunks=st.lists(st.integers(1, 6), max_size=8))
@settings(deadline=None, max_examples=300)
def test_a_frame_stays_in_its_slot_for_as_long_as_it_is_kept(retention, chunks):
    """So a commit writes the chunk's frames only, and never over a frame that stays."""
    slots: dict[int, int] = {}
    committed = 0
    for frames in chunks:
        end = committed + frames
        slots = {slot: frame for slot, frame in slots.items() if retention.keeps(frame, end)}
        for frame in range(committed, end):
            if retention.keeps(frame, end):
                assert retention.slot(frame) not in slots
                slots[retention.slot(frame)] = frame
        committed = end
        assert [slots[slot] for slot in sorted(slots)] == retention.kept(committed)


@given(retention=RETENTIONS, chunks=st.lists(st.integers(1, 6), max_size=8))
@settings(deadline=None, max_examples=300)
def test_moving_the_tail_forwards_in_frame_order_reads_nothing_overwritten(retention, chunks):
    """A frame's slot is never behind its place in the tail, which begins after the held frames."""
    committed = 0
    for frames in chunks:
        end, tail = committed + frames, retention.held(committed)
        for frame in range(committed, end):
            if retention.keeps(frame, end):
                assert retention.slot(frame) <= tail + frame - committed
        committed = end


@pytest.mark.parametrize(
    ("retention", "frames", "kept"),
    [
        (Retention(last=None), 4, [0, 1, 2, 3]),
        (Retention(first=1, last=0), 9, [0]),
        (Retention(first=3, last=6), 21, [0, 1, 2, 15, 16, 17, 18, 19, 20]),
        (Retention(last=1), 9, [8]),
        (Retention(last=0), 9, []),
        (Retention(last=3, begin=1), 3, [1, 2]),
        (Retention(last=3, begin=1), 6, [3, 4, 5]),
    ],
)
def test_the_retentions_of_the_methods(retention, frames, kept):
    assert sorted(retention.kept(frames)) == kept
