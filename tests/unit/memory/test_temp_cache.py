"""TempCache against the definitions: what is read equals attention over lists of groups kept by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory.memory import Cut
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnSA
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.methods.temp_cache.correspondence import Correspondence
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.rope import move_in_time, rope_rotations
from dummy_forcing.kernels.norm_rope import apply_rope

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
EXACT = {"atol": 1e-5, "rtol": 1e-5}
EASY = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
GRID, TOKENS, DIM = (2, 2), 4, 12


class Run:
    """A memory of one layer that is given roped keys frame by frame, chunk_frames at a time."""

    def __init__(self, merge=None, keep=None, *, rope=None, heads=2, chunk=2, total=None, batch=1, select=None):
        config = MemoryConfig(
            keep or Dense(),
            **{k: v for k, v in (("rope", rope), ("merge", merge), ("select", select)) if v is not None},
        )
        video = VideoShape(1, heads, chunk, total, batch=batch, grid=GRID, head_dim=DIM)
        self.memory = config.begin(video)
        self.chunk, self.heads, self.batch, self.now = chunk, heads, batch, 0

    def clock(self, start=None, *, clean=True):
        start = self.now if start is None else start
        return ChunkClock(start // self.chunk, start, self.chunk, TOKENS, int(clean), 0.0, clean)

    def attend(self, q, k, v, start=None):
        """All [B, L, H, D], roped."""
        return self.memory.attend(0, q, k, v, self.clock(start))

    def commit(self, k, v, start=None):
        self.attend(torch.zeros_like(k), k, v, start)
        self.memory.commit(self.clock(start))
        self.now = self.clock(start).end_frame

    @property
    def store(self):
        ((group,),) = self.memory._layers
        return group.store


def draw(seed, frames, heads=2, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames * TOKENS, heads, DIM, generator=generator)


def roped(x, start):
    return apply_rope(x, rope_rotations(range(start, start + x.shape[1] // TOKENS), *GRID, DIM))


def drifting(seed, frames, *, drift, heads=2, batch=1):
    """Un-roped keys that change little by little from frame to frame, some tokens abruptly."""
    generator = torch.Generator().manual_seed(seed)
    frame = torch.randn(batch, TOKENS, heads, DIM, generator=generator)
    video = []
    for _ in range(frames):
        step = torch.randn(frame.shape, generator=generator)
        jumps = torch.rand(frame.shape[:-1], generator=generator)[..., None] < 0.15
        frame = torch.where(jumps, step, frame + drift * step)
        video.append(frame)
    return torch.cat(video, dim=1)


class Groups:
    """One head's groups by the definition of TempCache with places kept: lists and loops, one item."""

    def __init__(self, method):
        self.method = method
        self.sink, self.groups, self.open = [], [], {}

    def commit(self, frame, k, v):
        """Roped k and v [n, D]."""
        if frame < self.method.sink:
            self.sink += [(k[i], v[i], 1) for i in range(len(k))]
            return
        left = []
        for place in range(len(k)):
            old = self.open.get(place)
            before = old and self._compared(old["k"], frame - 1)
            same = old and torch.cosine_similarity(before, self._compared(k[place], frame), dim=0)
            if old and same > self.method.similarity:
                members = [*old["v"], v[place]]
            else:
                left += [old] if old else []
                members = [v[place]]
            self.open[place] = {"k": k[place], "v": members, "newest": frame}
        self.groups += left
        room = (self.method.budget - self.method.sink - 1) * TOKENS
        self.groups.sort(key=lambda g: (len(g["v"]), g["newest"]))
        del self.groups[: max(0, len(self.groups) - room)]

    def _compared(self, k, frame):
        return move_in_time(k.view(1, 1, 1, -1), -frame).flatten() if self.method.compare == "unroped" else k

    @property
    def all_groups(self):
        return [*self.groups, *self.open.values()]

    def keys(self):
        """Keys, values and sizes that are read."""
        found = list(self.sink)
        for group in self.all_groups:
            value = group["v"][-1] if self.method.values == "newest" else torch.stack(group["v"]).mean(0)
            found.append((group["k"], value, len(group["v"])))
        return found

    def attend(self, q, k, v):
        """q, k, v [L, D] of a pass."""
        found = [*self.keys(), *((k[i], v[i], 1) for i in range(len(k)))]
        keys, values = (torch.stack([each[i] for each in found]) for i in (0, 1))
        sizes = torch.tensor([each[2] for each in found], dtype=torch.float32)
        return (q @ keys.T / DIM**0.5 + sizes.log()).softmax(-1) @ values


@given(
    seed=st.integers(0, 99),
    similarity=st.sampled_from([0.5, 0.9, 0.97, 1.0]),
    budget=st.integers(3, 9) | st.just(14),
    compare=st.sampled_from(["unroped", "roped"]),
    values=st.sampled_from(["mean", "newest"]),
)
@EASY
def test_what_is_read_is_what_the_definition_says(seed, similarity, budget, compare, values):
    """Where the budget runs out, the same sizes and newest frames: which of equals goes is not said."""
    method = TempCache(similarity, budget, 1, "same", compare, values)
    run, groups = Run(method), [Groups(method) for _ in range(2)]
    raw = drifting(seed, 14, drift=0.1)
    for start in range(0, 14, 2):
        part = slice(start * TOKENS, (start + 2) * TOKENS)
        k, v, q = roped(raw[:, part], start), draw(seed + start, 2), draw(seed - start, 2)
        out = run.attend(q, k, v)
        for head, each in enumerate(groups):
            if budget == 14:  # all of the video
                wanted = each.attend(q[0, :, head], k[0, :, head], v[0, :, head])
                torch.testing.assert_close(out[0, :, head], wanted, **EXACT)
            for frame in range(2):
                place = slice(frame * TOKENS, (frame + 1) * TOKENS)
                each.commit(start + frame, k[0, place, head], v[0, place, head])
        run.commit(k, v)
        for head, each in enumerate(groups):
            assert sizes(run, head) == sorted((len(g["v"]), g["newest"]) for g in each.all_groups)
        read = sum(len(each.keys()) for each in groups) / (2 * TOKENS)
        assert run.memory.status.history_frames == pytest.approx(read)


def sizes(run, head):
    """Members and newest frame of every group that a head holds, in order."""
    tokens = run.store._tokens
    pairs = zip(tokens._count[head].tolist(), tokens._newest[head].tolist(), strict=True)
    return sorted(pair for pair in pairs if pair[0])


@pytest.mark.parametrize("place", ["same", "neighbourhood", "nearest"])
def test_identical_keys_are_exact_whatever_their_values(place):
    """Lemma 5.1: the very same roped keys, frame after frame, against dense attention over all of them."""
    run, dense = Run(TempCache(0.9, 3, 0, place, "roped")), Run()
    frame = draw(0, 1)
    for start in range(0, 20, 2):
        k, v = frame.repeat(1, 2, 1, 1), draw(start + 1, 2)
        run.commit(k, v)
        dense.commit(k, v)
    q, k, v = (draw(seed, 2) for seed in (7, 8, 9))
    torch.testing.assert_close(run.attend(q, k, v), dense.attend(q, k, v), **EXACT)
    assert run.memory.status.history_frames == 1


def test_a_still_picture_is_one_frame_and_nearly_dense():
    """Un-roped duplicates are no duplicates to RoPE: they are merged, at a distance that is lost."""
    run, dense = Run(TempCache(0.99, 3, 0)), Run()
    frame = draw(0, 1)
    for start in range(0, 6, 2):
        k, v = roped(frame.repeat(1, 2, 1, 1), start), draw(99, 1).repeat(1, 2, 1, 1)
        run.commit(k, v)
        dense.commit(k, v)
    assert run.memory.status.history_frames == 1
    q, k = roped(frame.repeat(1, 2, 1, 1), 6), roped(frame.repeat(1, 2, 1, 1), 6)
    got, wanted = run.attend(q, k, v), dense.attend(q, k, v)
    assert not torch.allclose(got, wanted, atol=1e-5)
    assert (got - wanted).abs().max() < 0.25 * wanted.abs().max()


@pytest.mark.parametrize("place", ["same", "neighbourhood", "nearest"])
@pytest.mark.parametrize("keep", [Dense(), Window(1, 7)], ids=repr)
def test_a_similarity_of_one_merges_nothing(keep, place):
    merged, plain = Run(TempCache(1.0, 30, 1, place), keep, batch=2), Run(None, keep, batch=2)
    still = draw(0, 1, batch=2)
    for start in range(0, 16, 2):
        k, v, q = roped(still.repeat(1, 2, 1, 1), start), draw(start, 2, batch=2), draw(-start, 2, batch=2)
        torch.testing.assert_close(merged.attend(q, k, v), plain.attend(q, k, v), **EXACT)
        for run in (merged, plain):
            run.commit(k, v)
        assert merged.memory.status.history_frames == plain.memory.status.history_frames


@pytest.mark.parametrize("place", ["same", "neighbourhood", "nearest"])
def test_cosines_rounded_to_more_than_one_merge_nothing_either(place):
    matching = Correspondence(place, "unroped", 1.0, GRID)
    features = matching.features(draw(0, 1, heads=500), 0)
    assert ((features * features).sum(-1) > 1).any()
    assert (matching.match(features, features) < 0).all()


def test_moving_tokens_are_found_next_door_and_anywhere():
    """A pattern that moves one column a frame: only places beside one another know it again."""
    texture = draw(5, 2, heads=1).view(1, 4, 2, 1, DIM)  # columns of a wider picture
    frames = [torch.stack([texture[:, c + f] for c in (0, 1)], dim=2).flatten(1, 2) for f in range(3)]
    held = {}
    for place in ("same", "neighbourhood", "nearest"):
        run = Run(TempCache(0.99, 9, 0, place), heads=1, chunk=1)
        for start, raw in enumerate(frames):
            run.commit(roped(raw, start), draw(start, 1, heads=1))
        held[place] = run.memory.status.history_frames * TOKENS
    assert held == {"same": 12, "neighbourhood": 8, "nearest": 8}


def test_a_token_goes_on_once():
    """Two tokens that look like one of the frame before do not both take its members."""
    run = Run(TempCache(0.9, 9, 0, "nearest", "roped"), heads=1, chunk=1)
    a, b, c, d = draw(3, 1, heads=1).unbind(1)
    run.commit(torch.stack([a, b, c, d], 1), draw(0, 1, heads=1))
    run.commit(torch.stack([a, a, a, d], 1), draw(1, 1, heads=1))
    assert [size for size, _ in sizes(run, 0)] == [1, 1, 1, 1, 2, 2]


def test_items_of_a_batch_share_chains_and_keep_their_own_values():
    run, alone = Run(TempCache(0.9, 9, 0), batch=2), Run(TempCache(0.9, 9, 0))
    raw = drifting(1, 8, drift=0.05)
    for start in range(0, 8, 2):
        k, v = roped(raw[:, start * TOKENS : (start + 2) * TOKENS], start), draw(start, 2)
        run.commit(k.repeat(2, 1, 1, 1), torch.cat([v, 2 * v]))
        alone.commit(k, v)
    q, k, v = (draw(seed, 2) for seed in (7, 8, 9))
    got = run.attend(*(x.repeat(2, 1, 1, 1) for x in (q, k)), torch.cat([v, 2 * v]))
    wanted = alone.attend(q, k, v)
    torch.testing.assert_close(got, torch.cat([wanted, 2 * wanted]), **EXACT)


def test_one_item_that_changes_keeps_the_tokens_of_all_apart():
    run = Run(TempCache(0.9, 9, 0, compare="roped"), batch=2)
    still = draw(0, 1).repeat(1, 2, 1, 1)
    run.commit(torch.cat([still, draw(1, 2)]), draw(2, 2, batch=2))
    assert run.memory.status.history_frames == 2


def test_the_fewest_go_first_of_equals_the_oldest_and_never_the_sink():
    """Tokens by the frame they were last seen in: two of three members, the others alone."""
    run = Run(TempCache(0.9, 4, 1, compare="roped"), heads=1, chunk=1)
    frames = [draw(seed, 1, heads=1) for seed in range(9)]
    for start, seed in enumerate([0, 1, 2, 2, 2, 3, 4, 5, 6]):
        run.commit(frames[seed], torch.full_like(frames[seed], float(start)))
    assert sizes(run, 0) == [*[(1, 7)] * TOKENS, *[(1, 8)] * TOKENS, *[(3, 4)] * TOKENS]
    assert run.memory.status.history_frames == 4
    sink = slice(run.store._tail_tokens, run.store._tail_tokens + TOKENS)
    assert torch.equal(run.store.k[:, sink], frames[0])


@pytest.mark.parametrize("commits", [500, pytest.param(10_000, marks=pytest.mark.heavy)])
@pytest.mark.parametrize(
    "method", [TempCache(0.9, 5), TempCache(0.9, 5, 2, "nearest", "roped", "newest")], ids=repr
)
def test_the_budget_bounds_any_number_of_commits(method, commits):
    run = Run(method, heads=2, chunk=1)
    begun = run.memory.status.bytes
    raw = drifting(3, 50, drift=0.2).view(50, 1, TOKENS, 2, DIM)
    most = 0.0
    for frame in range(commits):
        if frame < 50 or frame % 1000 > 990:  # passes cost more time than commits
            run.attend(*(raw[frame % 50],) * 3)
        tail = run.store.tail(run.clock())
        for part in tail:
            part.copy_(raw[frame * 7 % 50])
        run.memory.commit(run.clock())
        run.now += 1
        most = max(most, run.memory.status.history_frames)
        assert run.memory.status.bytes == begun
    assert most == method.budget
    assert torch.isfinite(run.attend(*(raw[0],) * 3)).all()


def test_bytes_are_those_of_the_tensors_and_as_forecast():
    method, total = TempCache(0.9, 6, 1), 60
    config = MemoryConfig(Dense(), merge=method)
    video = VideoShape(2, 4, 3, total, grid=(2, 2), head_dim=12)
    memory = config.begin(video)
    heads, dim, tail = 4, 12, 3 * 4
    token = 2 * 4 * heads * dim  # k and v, fp32
    history = (6 + 3) * 4 * token
    bias = (6 * 4 + tail) * heads * 4
    groups = 5 * 4 * heads * (4 + 4)
    newest = 4 * heads * dim * (4 + 4)  # fp32 means, features
    assert memory.status.bytes == 2 * (history + bias + groups + newest)
    found = forecast_kv(config, video)
    assert found.peak_bytes == found.final_bytes == memory.status.bytes
    short = forecast_kv(config, VideoShape(2, 4, 3, 9, grid=(2, 2), head_dim=12))
    assert short.final_bytes == found.final_bytes  # 6 frames of history
    shorter = forecast_kv(config, VideoShape(2, 4, 3, 6, grid=(2, 2), head_dim=12))
    assert shorter.final_bytes < found.final_bytes


@pytest.mark.parametrize("rope", [None, Relative(), Relative(6)], ids=repr)
@pytest.mark.parametrize("values", ["mean", "newest"])
def test_a_window_counts_only_members_within_it(rope, values):
    """Duplicates: what a window of so many equal frames gives, however long they have been the same."""
    keep, still = Window(1, 8), draw(0, 1)
    merged = Run(TempCache(0.9, 8, compare="roped", values=values), keep, rope=rope)
    plain = Run(None, keep, rope=rope)
    for start in range(0, 24, 2):
        k, v = still.repeat(1, 2, 1, 1), draw(1, 1).repeat(1, 2, 1, 1)
        if start == 0:
            k = draw(2, 2)  # another sink
        q = draw(start, 2)
        torch.testing.assert_close(merged.attend(q, k, v), plain.attend(q, k, v), **EXACT)
        for run in (merged, plain):
            run.commit(k, v)
    assert merged.memory.status.history_frames == 2 < plain.memory.status.history_frames == 6


def test_tokens_leave_with_the_newest_frame_of_their_group():
    """Nothing alike: a window of TempCache is the window."""
    merged, plain = Run(TempCache(0.9, 8), Window(1, 8), rope=Relative()), Run(None, Window(1, 8), rope=Relative())
    for start in range(0, 24, 2):
        k, v, q = draw(start, 2), draw(start + 100, 2), draw(start + 200, 2)
        torch.testing.assert_close(merged.attend(q, k, v), plain.attend(q, k, v), **EXACT)
        for run in (merged, plain):
            run.commit(k, v)
        assert merged.memory.status.history_frames == plain.memory.status.history_frames


@pytest.mark.parametrize("local", [2, 3, None])
def test_only_heads_that_look_back_are_merged(local):
    roles = ((SINK, NEIGHBOR, DUMMY, DUMMY),)
    keep = DummyForcing(roles=roles, local_context=local, classification_chunk=1)
    merged, plain = Run(TempCache(0.9, 9, 0, compare="roped"), keep, heads=4), Run(None, keep, heads=4)
    still = draw(0, 1, heads=4)
    for start in range(0, 20, 2):
        k, v, q = still.repeat(1, 2, 1, 1), draw(1, 1, heads=4).repeat(1, 2, 1, 1), draw(start, 2, heads=4)
        torch.testing.assert_close(merged.attend(q, k, v), plain.attend(q, k, v), **EXACT)
        for run in (merged, plain):
            run.commit(k, v)
        if start < 2:  # all of the history is needed when roles take effect
            assert merged.memory.status == plain.memory.status
    (groups,) = merged.memory._layers
    assert {store.heads: store.held for store in (group.store for group in groups)} == (
        {(0, 2, 3): 1, (1,): 1.0} if local else {(0, 1): 1.0, (2, 3): 1}
    )


@pytest.mark.parametrize("compare", ["unroped", "roped"])
def test_a_rewind_leaves_what_came_before_it(compare):
    """A still picture up to the cut and beyond: afterwards all is as if the frames behind it had never come."""
    method = TempCache(0.9, 9, 1, compare=compare)
    rewound, straight = Run(method), Run(method)
    still, value = draw(0, 1).repeat(1, 2, 1, 1), draw(1, 1).repeat(1, 2, 1, 1)
    for start in range(0, 12, 2):
        k = roped(still, start) if compare == "unroped" else still
        for run in (rewound, *([straight] if start < 8 else [])):
            run.commit(k, value)
    assert not rewound.memory.rewind(Cut(opening=2, begin=8), 6)
    q, k, v = (draw(seed, 2) for seed in (7, 8, 9))
    if compare == "unroped":  # roped copies of one key do not turn with time
        torch.testing.assert_close(rewound.attend(q, k, v, 8), straight.attend(q, k, v, 8), **EXACT)
    assert rewound.memory.status.history_frames == straight.memory.status.history_frames == 2
    rewound.commit(draw(5, 2), draw(6, 2), 8)
    assert rewound.memory.status.history_frames == 4


def test_a_rewind_of_frames_that_are_all_different_is_exact():
    method = TempCache(0.9, 20, 1)
    rewound, straight = Run(method), Run(method)
    frames = [(draw(seed, 2), draw(seed + 50, 2)) for seed in range(8)]
    for start, (k, v) in zip(range(0, 16, 2), frames, strict=True):
        rewound.commit(k, v)
        if start < 10:
            straight.commit(k, v)
    rewound.memory.rewind(Cut(opening=2, begin=10), 8)
    rewound.now = 10
    for start, (k, v) in zip(range(10, 16, 2), frames, strict=False):
        q = draw(start, 2)
        torch.testing.assert_close(rewound.attend(q, v, k), straight.attend(q, v, k), **EXACT)
        for run in (rewound, straight):
            run.commit(v, k, start)


def test_a_flush_leaves_the_sink_and_the_newest_members():
    method = TempCache(0.9, 9, 1, compare="roped")
    merged, plain = Run(method), Run()
    still = draw(0, 1).repeat(1, 2, 1, 1)
    v = draw(1, 1).repeat(1, 2, 1, 1)
    for _ in range(6):
        for run in (merged, plain):
            run.commit(still, v)
    for run in (merged, plain):
        run.memory.forget(Cut(opening=1, begin=9))
    q, k, v = (draw(seed, 2) for seed in (7, 8, 9))
    torch.testing.assert_close(merged.attend(q, k, v), plain.attend(q, k, v), **EXACT)
    assert merged.memory.status.history_frames == 2 and plain.memory.status.history_frames == 4
    begun = merged.memory.status.bytes
    for start in range(12, 40, 2):
        merged.commit(draw(start, 2), draw(start, 2))
        assert merged.memory.status.bytes == begun


@given(
    seed=st.integers(0, 99),
    keep=st.sampled_from([Dense(), Window(1, 7), DummyForcing(roles=((1, 1),), local_context=3)]),
    place=st.sampled_from(["same", "neighbourhood", "nearest"]),
    acts=st.lists(st.sampled_from(["step", "step", "recache", "flush", "restart"]), max_size=10),
)
@EASY
def test_any_sequence_of_cuts_stays_within_the_budget(seed, keep, place, acts):
    run, raw = Run(TempCache(0.9, 5, 1, place), keep), drifting(seed, 40, drift=0.1)
    for act in ["step", "step", *acts, "step"]:
        if act == "recache" and run.now > 4:
            now = run.now
            begin = max(2, now - 4)
            if run.memory.rewind(Cut(opening=2, begin=begin), now // 2):
                run.commit(draw(seed, 2), draw(seed, 2), 0)
            run.now = begin
        elif act == "flush":
            run.memory.forget(Cut(opening=1, begin=max(0, run.now - 1)))
        elif act == "restart":
            run.memory.restart(first_chunk=0)
            run.now = 0
        part = raw[:, run.now * TOKENS : (run.now + 2) * TOKENS]
        out = run.attend(draw(seed, 2), roped(part, run.now), part)
        assert torch.isfinite(out).all()
        run.commit(roped(part, run.now), part)
        assert run.memory.status.history_frames <= 6


def test_ann_attention_that_reads_everything_reads_merged_keys_as_they_are():
    """TempCache and AnnSA together: bias and ragged heads survive the sorting."""
    search = AnnSA(
        "quant", bits=2, share=1.0, block=4, min_frames=1, dense_passes=0, sparse_clean=True, min_recall=0
    )
    both, alone = (Run(TempCache(0.9, 9), select=select) for select in (search, None))
    raw = drifting(2, 20, drift=0.1)
    for start in range(0, 20, 2):
        k, v, q = roped(raw[:, start * TOKENS : (start + 2) * TOKENS], start), draw(start, 2), draw(-start, 2)
        torch.testing.assert_close(both.attend(q, k, v), alone.attend(q, k, v), **EXACT)
        for run in (both, alone):
            run.commit(k, v)


def test_bf16_means_of_hundreds_are_means():
    """1/500 of a value is lost in bf16; fp32 sums keep it."""
    video = VideoShape(1, 1, 1, grid=GRID, head_dim=DIM, dtype=torch.bfloat16)
    memory = MemoryConfig(merge=TempCache(0.5, 3, 0, compare="roped")).begin(video)
    k = torch.ones(1, TOKENS, 1, DIM, dtype=torch.bfloat16)
    for frame in range(500):
        clock = ChunkClock(frame, frame, 1, TOKENS, 0, 0.0, True)
        memory.attend(0, k, k, torch.full_like(k, float(frame >= 250)), clock)
        memory.commit(clock)
    ((group,),) = memory._layers
    newest = group.store.v[0, TOKENS : 2 * TOKENS]
    assert newest.float().mean().item() == pytest.approx(0.5, abs=2e-3)
    assert math.exp(group.store._bias[0, TOKENS].item()) == pytest.approx(500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": 0.0}, "similarity is 0.0; expected a number above 0 up to 1"),
        ({"similarity": 1.1}, "similarity is 1.1"),
        ({"similarity": float("nan")}, "similarity is nan"),
        ({"budget": 2}, "a budget of 2 latent frames and a sink of 1; expected a budget"),
        ({"sink": -1}, "sink is -1; expected 0 or more"),
        ({"correspondence": "far"}, "correspondence is 'far'; expected 'same', 'neighbourhood' or 'nearest'"),
        ({"compare": "both"}, "compare is 'both'; expected 'unroped' or 'roped'"),
        ({"values": "sum"}, "values is 'sum'; expected 'mean' or 'newest'"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(DummyForcingError) as error:
        TempCache(**options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keep", "merge", "message"),
    [
        (RollingWindow(), TempCache(), "remove TempCache or use a plain window"),
        (Window(3, 12, 0.99), TempCache(), "remove TempCache or the sink average"),
        (Window(9, 21), TempCache(budget=10), "use at least 11"),
        (
            DummyForcing(),
            TempCache(),
            "give neighbor heads a local context of 2 chunks or more, or remove TempCache",
        ),
    ],
)
def test_combinations_that_make_no_sense_say_why(keep, merge, message):
    with pytest.raises(DummyForcingError) as error:
        MemoryConfig(keep, merge=merge)
    assert message in str(error.value)


@pytest.mark.parametrize("method", [TempCache(), TempCache(0.95, 12, 3, "nearest", "roped", "newest")], ids=repr)
def test_json_round_trip(method):
    config = MemoryConfig(merge=method)
    assert MemoryConfig.from_dict(config.to_dict()) == config


def test_streams_under_every_combination(stream, collect_latents):
    """The whole loop on a tiny model: a similarity of 1 is dense, others run to the end."""
    dense = collect_latents(stream(Dense(), 12))
    for merge, keep in itertools.product(
        (TempCache(1.0), TempCache(0.3), TempCache(0.3, correspondence="nearest")),
        (Dense(), DummyForcing(local_context=2), Window(1, 9)),
    ):
        latents = collect_latents(stream(keep, 12, merge=merge))
        assert torch.isfinite(latents).all()
        if merge.similarity == 1 and keep == Dense():
            torch.testing.assert_close(latents, dense, **EXACT)
