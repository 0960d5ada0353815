"""`FrameStore` against a dict from frames to tensors."""

from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory.retention import Retention, StoreHeads
from dummy_forcing.core.memory.store import FrameStore
from dummy_forcing.core.video import VideoShape

TOKENS = 2
CHUNK = 4
VIDEO = VideoShape(layers=1, heads=3, chunk_frames=CHUNK, batch=2, grid=(1, TOKENS), head_dim=3)
RETENTIONS = st.builds(
    Retention, first=st.integers(0, 3), last=st.none() | st.integers(0, 6), begin=st.integers(0, 4)
)
CHUNKS = st.lists(st.integers(1, CHUNK), min_size=1, max_size=9)


def frame_kv(frame, heads, *, version=0):
    """Keys and values of one frame of the given heads: every number tells where it belongs."""
    head = torch.tensor(heads, dtype=torch.float32)[None, None, :, None]
    token = torch.arange(TOKENS).view(1, -1, 1, 1) / 10
    item = torch.arange(VIDEO.batch).view(-1, 1, 1, 1) / 1000
    k = (1000 * frame + 10 * head + token + item + 0.5 * version).expand(-1, -1, -1, VIDEO.head_dim)
    return k, -k


def chunk_kv(frames, heads, **version):
    pairs = [frame_kv(frame, heads, **version) for frame in frames]
    return torch.cat([k for k, _ in pairs], 1), torch.cat([v for _, v in pairs], 1)


def clock_of(chunk):
    return ChunkClock(0, chunk.start, len(chunk), TOKENS, pass_index=1, sigma=0.0, clean=True)


def write(store, chunk, **version):
    """One pass over a range of frames; returns how many keys can be read, a prefix."""
    for tail, fresh in zip(store.tail(clock_of(chunk)), chunk_kv(chunk, store.heads, **version), strict=True):
        tail.copy_(fresh)
    view = store.view(clock_of(chunk))
    (((start, end),),) = set(view.plan.ranges)
    assert start == 0 and view.own == (end - len(chunk) * TOKENS, end)
    return end


def commit(store, chunk):
    store.commit(clock_of(chunk))


def slots_for(members, chunks):
    """History that the members need at most."""
    totals = [sum(chunks[: index + 1]) for index in range(len(chunks))]
    return max(member.retention.held(total) for member in members for total in totals)


def check_readable(store, frames_of, readable, chunk):
    """The readable prefix holds exactly the frames of `frames_of` (per head) and the chunk, values included."""
    for place, head in enumerate(store.heads):
        expected = [frame_kv(frame, (head,)) for frame in [*frames_of[head], *chunk]]
        for tensor, side in ((store.k, 0), (store.v, 1)):
            found = tensor[:, :readable, place].unflatten(1, (-1, TOKENS)).unbind(1)
            wanted = [pair[side][:, :, 0] for pair in expected]
            assert len(found) == len(wanted)
            assert sorted(x.flatten().tolist() for x in found) == sorted(x.flatten().tolist() for x in wanted)


def run_chunks(store, chunks, start=0):
    """Write and commit chunk after chunk, comparing what is readable with a literal dict of frames."""
    history = {head: {} for head in store.heads}
    retention = {head: member.retention for member in store.members for head in member.heads}
    for frames in chunks:
        chunk = range(start, start + frames)
        write(store, chunk, version=1)
        readable = write(store, chunk)
        check_readable(store, history, readable, chunk)
        commit(store, chunk)
        start += frames
        for head, kept in history.items():
            kept.update(dict.fromkeys(chunk))
            for frame in [frame for frame in kept if not retention[head].keeps(frame, start)]:
                del kept[frame]


@given(retention=RETENTIONS, chunks=CHUNKS, bounded=st.booleans())
@settings(deadline=None, max_examples=80)
def test_contents_equal_a_dict_of_frames(retention, chunks, bounded):
    member = StoreHeads((0, 1), retention)
    slots = slots_for([member], chunks) if bounded or retention.last is not None else None
    run_chunks(FrameStore(VIDEO, (member,), slots), chunks)


@given(sink=RETENTIONS, recent=RETENTIONS, chunks=CHUNKS)
@settings(deadline=None, max_examples=80)
def test_packed_members_do_not_disturb_one_another(sink, recent, chunks):
    total = sum(chunks)
    assume(all(sink.held(n) == recent.held(n) for n in range(total + 1)))
    members = (StoreHeads((3,), sink), StoreHeads((0, 2), recent))
    run_chunks(FrameStore(VIDEO, members, slots_for(members, chunks)), chunks)


@pytest.mark.parametrize("first", range(4))
def test_sink_and_recent_heads_of_equal_length_pack(first):
    members = (StoreHeads((1, 3), Retention(first=first, last=3 - first)), StoreHeads((0,), Retention(last=3)))
    run_chunks(FrameStore(VIDEO, members, 3), [1, 4, 2, 3, 3, 1, 4])


@given(retention=RETENTIONS, before=CHUNKS, after=CHUNKS)
@settings(deadline=None, max_examples=60)
def test_adopting_a_dense_history_equals_having_kept_it_all_along(retention, before, after):
    dense = FrameStore(VIDEO, (StoreHeads((0, 1, 2), Retention(last=None)),), None)
    run_chunks(dense, before)
    member = StoreHeads((2, 0), retention)
    store, reference = (FrameStore(VIDEO, (member,), slots_for([member], before + after)) for _ in range(2))
    store.adopt(dense)
    run_chunks(reference, before)
    chunk = range(sum(before), sum(before) + after[0])
    for each in (store, reference):
        write(each, chunk)
        commit(each, chunk)
    used = reference.held * TOKENS
    assert torch.equal(store.k[:, :used], reference.k[:, :used])
    assert torch.equal(store.v[:, :used], reference.v[:, :used])


def test_later_passes_overwrite_the_tail_and_leave_history_alone():
    store = FrameStore(VIDEO, (StoreHeads((0,), Retention(last=None)),), 8)
    write(store, range(4))
    commit(store, range(4))
    history = store.k[:, : 4 * TOKENS].clone()
    for version in range(3):
        k, v = chunk_kv(range(4, 8), (0,), version=version)
        assert write(store, range(4, 8), version=version) == 8 * TOKENS
        assert torch.equal(store.k[:, : 4 * TOKENS], history)
        assert torch.equal(store.k[:, 4 * TOKENS : 8 * TOKENS], k)
        assert torch.equal(store.v[:, 4 * TOKENS : 8 * TOKENS], v)
    assert store.committed == 4


def test_an_unbounded_store_doubles_and_keeps_its_contents():
    store = FrameStore(VIDEO, (StoreHeads((0,), Retention(last=None)),), None)
    sizes = []
    for start in range(0, 200, CHUNK):
        write(store, range(start, start + CHUNK))
        commit(store, range(start, start + CHUNK))
        sizes.append(store.bytes)
    different = sorted(set(sizes))
    assert sizes == sorted(sizes)
    assert all(2 <= larger / size <= 2.5 for size, larger in pairwise(different))
    assert torch.equal(store.k[:, : 200 * TOKENS], chunk_kv(range(200), (0,))[0])
    assert torch.equal(store.v[:, : 200 * TOKENS], chunk_kv(range(200), (0,))[1])


def test_a_bounded_store_never_changes_its_size():
    retention = Retention(first=1, last=3)
    store = FrameStore(VIDEO, (StoreHeads((0, 1), retention),), 4)
    expected = 2 * 4 * VIDEO.batch * (4 + CHUNK) * TOKENS * 2 * VIDEO.head_dim
    for start in range(0, 40, CHUNK):
        write(store, range(start, start + CHUNK))
        commit(store, range(start, start + CHUNK))
        assert store.bytes == expected


def test_a_video_longer_than_the_store_is_refused():
    store = FrameStore(VIDEO, (StoreHeads((0,), Retention(last=None)),), CHUNK)
    for start in (0, CHUNK):
        write(store, range(start, start + CHUNK))
        commit(store, range(start, start + CHUNK))
    with pytest.raises(DummyForcingError, match="room for 16 tokens but the chunk ends at 24"):
        write(store, range(8, 12))


def test_a_chunk_longer_than_the_layout_is_refused():
    store = FrameStore(VIDEO, (StoreHeads((0,), Retention(last=2)),), 2)
    with pytest.raises(DummyForcingError, match="room for"):
        write(store, range(7))


def test_key_frames_name_the_readable_blocks_in_order():
    store = FrameStore(VIDEO, (StoreHeads((0,), Retention(first=1, last=4)),), 5)
    for start in range(0, 12, 3):
        chunk = range(start, start + 3)
        readable = write(store, chunk)
        frames = store.view(clock_of(chunk)).frames
        assert torch.equal(store.k[:, :readable], chunk_kv(frames, (0,))[0])
        commit(store, chunk)
    assert sorted(store.view(clock_of(range(12, 15))).frames) == [0, 8, 9, 10, 11, 12, 13, 14]
