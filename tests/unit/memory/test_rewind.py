"""Rewind, forget and restart: what is read afterwards is what a list of the frames left would give."""

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.memory.memory import Cut
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Absolute, Relative
from dummy_forcing.core.methods.window import Window

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
ROLES = (SINK, NEIGHBOR, DUMMY, DUMMY)
EASY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
EXACT = {"atol": 1e-5, "rtol": 1e-5}


class HeadLists:
    """Frames that one head keeps: opening ones, and recent ones in a queue; `last` None queues without end."""

    def __init__(self, first=0, last=None, begin=0):
        self.first, self.last, self.begin = first, last, begin
        self.opening, self.recent = [], []

    @property
    def frames(self):
        return self.opening + self.recent

    def commit(self, frames):
        for frame in frames:
            if frame < self.first:
                self.opening.append(frame)
            elif frame >= self.begin:
                self.recent.append(frame)
        if self.last is not None:
            del self.recent[: max(0, len(self.recent) - self.last)]

    def forget(self, cut):
        if cut.begin <= cut.opening:
            return
        opening = self.recent if self.last is None else []
        if cut.begin > max(cut.opening, self.first):
            self.opening += [frame for frame in opening if frame < cut.opening]
        self.recent = [f for f in self.recent if f >= cut.begin or (f < cut.opening and self.last is None)]
        self.recent = [frame for frame in self.recent if frame not in self.opening]

    def rewind(self, begin):
        self.opening = [frame for frame in self.opening if frame < begin]
        self.recent = [f for f in self.recent if f < begin] if self.last is None else []


class Lists:
    """What all heads keep by the definitions of the policies, through every cut."""

    def __init__(self, keep, heads, chunk_frames):
        self.keep, self.heads, self.chunk = keep, heads, chunk_frames
        self.restart(first_chunk=0)
        self.due = getattr(keep, "classification_chunk", None)

    def restart(self, first_chunk, cut=None):
        gap = cut if cut is not None and cut.begin > cut.opening else None
        self.classified, self.begin = False, gap.begin if gap else 0
        self.room_from = self.begin  # the stores have room for the frames from here on
        self.due = max(0, first_chunk - 1)  # roles that are there hold as soon as the context is
        if isinstance(self.keep, Window):
            kinds = [(self.keep.sink, self.keep.size - self.keep.sink - self.chunk)] * self.heads
        else:
            kinds = [(gap.opening if gap else 0, None)] * self.heads
        self.lists = [HeadLists(*kind) for kind in kinds]

    def commit(self, start):
        for each in self.lists:
            each.commit(range(start, start + self.chunk))
        if isinstance(self.keep, DummyForcing) and not self.classified and start // self.chunk >= self.due:
            self.classified = True
            kinds = {
                SINK: (1, 0),
                NEIGHBOR: (0, self.keep.local_context * self.chunk, max(1, self.begin)),
                DUMMY: (0, 1),
            }
            old, self.lists = self.lists, [HeadLists(*kinds[role]) for role in ROLES]
            for kept, each in zip(old, self.lists, strict=True):
                each.commit(kept.frames)

    def rewind(self, cut, next_chunk):
        if self.classified or cut.begin <= cut.opening or cut.begin < self.room_from:
            self.restart(next_chunk, cut)
            return True
        for each in self.lists:
            each.rewind(cut.begin)
        return False

    def forget(self, cut):
        self.room_from = cut.begin
        for each in self.lists:
            each.forget(cut)


def check(run, lists, start, qkv, out):
    for head, each in enumerate(lists.lists):
        context = [(frame, *run.frames[frame]) for frame in each.frames]
        torch.testing.assert_close(
            out[:, :, head].double(), run.literal(head, qkv, start, context), **EXACT, msg=f"head {head} at {start}"
        )


POLICIES = st.one_of(
    st.just(Dense()),
    st.builds(lambda sink, room: Window(sink, sink + 2 + room), st.integers(0, 3), st.integers(0, 5)),
    st.builds(
        lambda due, local: DummyForcing(roles=(ROLES,), classification_chunk=due, local_context=local),
        st.integers(0, 3),
        st.integers(1, 2),
    ),
)


@given(
    keep=POLICIES,
    bounded=st.booleans(),
    acts=st.lists(st.sampled_from(["step", "step", "step", "recache", "flush", "restart"]), max_size=12),
    data=st.data(),
)
@EASY
def test_any_sequence_of_cuts(roped, keep, bounded, acts, data):
    chunk = 2
    total = chunk * (len(acts) + 1) if bounded else None
    run = roped(MemoryConfig(keep), heads=4, chunk_frames=chunk, total=total)
    lists = Lists(keep, 4, chunk)
    now = 0

    def commit(start):
        qkv = run.draw(chunk)
        out = run.attend(start, qkv)
        check(run, lists, start, qkv, out)
        run.commit(start, qkv)
        lists.commit(start)

    for act in [*acts, "step"]:
        if act == "step":
            commit(now)
            now += chunk
        elif act == "recache" and now:
            begin = data.draw(st.integers(0, now // chunk - 1)) * chunk
            cut = Cut(opening=chunk, begin=max(begin, chunk))
            all_gone = run.memory.rewind(cut, now // chunk)
            assert all_gone is lists.rewind(cut, now // chunk)
            if all_gone:
                commit(0)
            for start in range(cut.begin, now, chunk):
                commit(start)
        elif act == "flush" and now:
            cut = Cut(opening=1, begin=max(0, now - data.draw(st.integers(1, 4))))
            run.memory.forget(cut)
            lists.forget(cut)
        elif act == "restart":
            run.memory.restart(first_chunk=0)
            lists.restart(first_chunk=0)
            now = 0


@given(after=st.integers(1, 12), sink=st.integers(1, 3), cuts=st.lists(st.integers(1, 7), min_size=1, max_size=4))
@example(after=1, sink=3, cuts=[6])  # back into the sink
@EASY
def test_a_rewind_leaves_moved_opening_frames_right(roped, after, sink, cuts):
    """The window after it is the one of a memory that was never rewound, once it is full again."""
    keep = MemoryConfig(Window(sink, sink + 3), Relative(after))
    run, straight = (roped(keep, chunk_frames=1) for _ in range(2))
    given_to = {}

    def commit(frame):
        given_to[frame] = run.draw(1)  # under another prompt they are others
        return run.commit(frame, given_to[frame])

    now = 0
    for back in cuts:
        for _ in range(8):
            commit(now)
            now += 1
        begin = max(1, now - back)
        run.memory.rewind(Cut(opening=1, begin=begin), now)
        if begin == 1:
            commit(0)
        for frame in range(begin, now):
            commit(frame)
    for frame in range(now, now + 4):
        out = commit(frame)
    for frame in range(now + 4):
        wanted = straight.commit(frame, given_to[frame])
    torch.testing.assert_close(out, wanted, **EXACT)


@pytest.mark.parametrize("rope", [Absolute(), Relative()], ids=repr)
@pytest.mark.parametrize("keep", [Window(2, 6), Window(2, 6, 0.9)], ids=repr)
def test_a_rewind_and_a_flush_change_no_bytes(roped, keep, rope):
    run = roped(MemoryConfig(keep, rope), chunk_frames=2)
    begun = run.memory.status.bytes
    for start in range(0, 20, 2):
        run.commit(start, run.draw(2))
    run.memory.rewind(Cut(opening=2, begin=14), 10)
    assert run.memory.status.bytes == begun
    for start in range(14, 20, 2):
        run.commit(start, run.draw(2))
    run.memory.forget(Cut(opening=1, begin=18))
    assert run.memory.status.bytes == begun
    run.memory.restart(first_chunk=0)
    assert run.memory.status.bytes == begun


def test_a_flush_keeps_averages(roped):
    """Only the window goes: the sink still speaks for all that has left it."""
    keep = MemoryConfig(Window(1, 4, 0.5), Relative())
    run = roped(keep, heads=1, chunk_frames=1)
    for start in range(9):
        run.commit(start, run.draw(1))
    run.seen.on = True
    qkv = run.draw(1)
    run.attend(9, qkv)
    before = run.seen.keys[:, : run.tokens]  # 2 recent frames behind it
    run.memory.forget(Cut(opening=1, begin=8))
    run.attend(9, qkv)
    after = run.seen.keys[:, : run.tokens]  # 1 frame behind it: one place later
    torch.testing.assert_close(run.rope(before, [1])[..., :4], after[..., :4], **EXACT)


def test_an_unbounded_flush_may_leave_more_than_a_fresh_store_holds(roped):
    run = roped(MemoryConfig(Dense()))
    for start in range(0, 60, 3):
        run.commit(start, run.draw(3))
    run.memory.forget(Cut(opening=1, begin=15))
    qkv = run.draw(3)
    out = run.attend(60, qkv)
    context = [(frame, *run.frames[frame]) for frame in (0, *range(15, 60))]
    torch.testing.assert_close(out[:, :, 0].double(), run.literal(0, qkv, 60, context), **EXACT)


def test_a_late_classification_without_a_bound(roped):
    keep = DummyForcing(roles=((SINK, NEIGHBOR, DUMMY, DUMMY),), local_context=None, classification_chunk=9)
    run = roped(MemoryConfig(keep), heads=4)
    for start in range(0, 33, 3):
        run.commit(start, run.draw(3))
    qkv = run.draw(3)
    out = run.attend(33, qkv)
    context = [(frame, *run.frames[frame]) for frame in range(33)]
    torch.testing.assert_close(out[:, :, 1].double(), run.literal(1, qkv, 33, context), **EXACT)


def online(hand_driven, **options):
    driven = hand_driven(DummyForcing(row_fraction=1.0, **options), layers=2)
    for _ in range(3):
        driven.step()
    return driven


def test_a_new_prompt_measures_heads_again_in_the_first_chunk_that_is_generated(hand_driven):
    driven = online(hand_driven)
    first = driven.memory.status
    driven.memory.restart(first_chunk=3, new_prompt=True)
    assert driven.memory.status.roles is None
    driven.chunk, driven.committed = 0, [[] for _ in range(2)]
    for chunk in range(4):
        driven.step()
        assert (driven.memory.status.roles is None) is (chunk < 3)
    assert not torch.equal(driven.memory.status.masses, first.masses)


@pytest.mark.parametrize(("reclassify", "new_prompt"), [("prompt", False), ("never", True), ("never", False)])
def test_roles_outlive_a_restart_without_a_reason_to_measure(hand_driven, reclassify, new_prompt):
    driven = online(hand_driven, reclassify=reclassify)
    roles = driven.memory.status.roles
    driven.memory.restart(first_chunk=2, new_prompt=new_prompt)
    driven.chunk, driven.committed = 0, [[] for _ in range(2)]
    driven.step()
    assert driven.memory.status.roles is None  # the context is still being computed
    driven.step()
    assert torch.equal(driven.memory.status.roles, roles)


def test_roles_of_a_profile_outlive_a_new_prompt(hand_driven):
    driven = hand_driven(DummyForcing(roles=(ROLES,)))
    for _ in range(3):
        driven.step()
    driven.memory.restart(first_chunk=1, new_prompt=True)
    driven.chunk, driven.committed = 0, [[]]
    driven.step()
    driven.step()
    assert driven.memory.status.roles.tolist() == [list(ROLES)]


def test_a_rewind_of_classified_heads_starts_over(roped):
    run = roped(MemoryConfig(DummyForcing(roles=(ROLES,))), heads=4)
    for start in range(0, 18, 3):
        run.commit(start, run.draw(3))
    assert run.memory.rewind(Cut(opening=3, begin=12), 6)
    assert run.memory.status.roles is None
    for start in (0, 12, 15):
        run.commit(start, run.draw(3))
    assert run.memory.status.roles is not None
    qkv = run.draw(3)
    out = run.attend(18, qkv)
    for head, frames in enumerate(([0], [15, 16, 17], [17], [17])):
        context = [(frame, *run.frames[frame]) for frame in frames]
        torch.testing.assert_close(out[:, :, head].double(), run.literal(head, qkv, 18, context), **EXACT)


@pytest.mark.parametrize("roles", [(SINK, DUMMY, SINK, DUMMY)])
def test_packed_heads_stay_packed_and_right_through_a_flush(roped, roles):
    """A flush that leaves no recent frame empties the dummy heads; sink heads keep frame 0."""
    run = roped(MemoryConfig(DummyForcing(roles=(roles,))), heads=4)
    for start in range(0, 9, 3):
        run.commit(start, run.draw(3))
    run.memory.forget(Cut(opening=1, begin=9))
    for start, dummy in ((9, []), (12, [11])):
        qkv = run.draw(3)
        out = run.commit(start, qkv)
        for head, role in enumerate(roles):
            context = [(frame, *run.frames[frame]) for frame in ([0] if role == SINK else dummy)]
            torch.testing.assert_close(out[:, :, head].double(), run.literal(head, qkv, start, context), **EXACT)
