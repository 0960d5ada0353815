"""AnnSA: dense where it must be, literal where it searches, searched once per history, counted as it is defined."""

import dataclasses
import json

import pytest
import torch

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory.retention import Retention, StoreHeads
from dummy_forcing.core.memory.select_report import SelectCount
from dummy_forcing.core.memory.store import KVView
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnSA
from dummy_forcing.core.methods.ann.history import AnnSelection
from dummy_forcing.core.methods.ann.search import SignHash
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.kv_quantisation import QuantisedKV
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.tally import Tally, describe_run
from dummy_forcing.core.video import VideoShape
from dummy_forcing.kernels import ReadPlan, attend_densely

CHUNK, TOKENS = 3, 8
EAGER = {"min_frames": 1, "dense_passes": 0, "sparse_clean": True, "min_recall": 0.0, "block": 4}
EVERYTHING = [AnnSA("quant", 3, share=1.0, **EAGER), AnnSA("lsh", 3, radius=3, **EAGER)]
SEARCHES = [AnnSA("quant", 3, share=0.25, **EAGER), AnnSA("lsh", 3, radius=0, **EAGER)]
NOISY, CLEAN = (ChunkClock(5, 15, CHUNK, TOKENS, 1, 0.5, clean) for clean in (False, True))


def draw(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def selection(config, heads=2):
    return AnnSelection(config, tuple(range(heads)), config.min_frames * TOKENS, SelectCount())


def make_view(frames=5, *, heads=2, batch=1, version=0, seed=0):
    """Random keys and values of a history, a chunk behind it, and room that nobody reads."""
    past, own = frames * TOKENS, CHUNK * TOKENS
    k, v = draw(2, batch, past + own + 3, heads, 16, seed=seed)
    k[:, past + own :] = v[:, past + own :] = float("nan")
    return KVView(k, v, ReadPlan.prefix(heads, past + own), (past, past + own), version, None)


def merged_view():
    """Three heads with other ranges and biases each, the own chunk first, some places empty."""
    own = CHUNK * TOKENS
    k, v = draw(2, 1, own + 40, 3, 16)
    bias = draw(3, own + 40, seed=1).abs()
    bias[:, :own], bias[:, own + 5 : own + 9] = 0, float("-inf")
    k[:, own + 5 : own + 9] = v[:, own + 5 : own + 9] = 0
    ranges = ((0, own + 40),), ((0, own), (own + 7, own + 20)), ((0, own), (own + 3, own + 9), (own + 30, own + 33))
    return KVView(k, v, ReadPlan(ranges, bias), (0, own), 0, None)


def dense(q, view):
    """What dense attention makes of a view, written out."""
    return literal(q, view, lambda head, query, key: True)


def literal(q, view, reads, weights=None):
    """Attention of [B, L, H, D] over those keys of the plan for which reads(head, query, key)."""
    out = torch.zeros_like(q)
    for head, ranges in enumerate(view.plan.ranges):
        keys = [key for start, end in ranges for key in range(start, end)]
        if view.plan.bias is not None:
            keys = [key for key in keys if view.plan.bias[head, key] > float("-inf")]
        logits = q[:, :, head] @ view.k[:, keys, head].mT / 4
        if view.plan.bias is not None:
            logits = logits + view.plan.bias[head, keys]
        mask = torch.tensor([[bool(reads(head, query, key)) for key in keys] for query in range(q.shape[1])])
        if weights is not None:
            weights.append((logits.softmax(-1), mask))
        out[:, :, head] = logits.masked_fill(~mask, float("-inf")).softmax(-1) @ view.v[:, keys, head]
    return out


def lsh_reads(q, view, config):
    """Which keys a query of a block reads under sign-LSH, by its definition."""
    heads = tuple(range(q.shape[2]))
    search, own = SignHash(config.bits, config.radius, config.seed), range(*view.own)
    near = {}
    for head in heads:
        past = [key for start, end in view.plan.ranges[head] for key in range(start, end) if key not in own]
        if view.plan.bias is not None:
            past = [key for key in past if view.plan.bias[head, key] > float("-inf")]
        keys = view.k[0, past, head] - view.k[0, past, head].mean(0)
        of_keys = search.codes(keys[None], (head,))[0].tolist()
        of_queries = search.codes(q[0, :, head][None], (head,))[0].tolist()
        order = sorted(range(len(of_queries)), key=of_queries.__getitem__)
        for start in range(0, len(order), config.block):
            block = order[start : start + config.block]
            for key, code in zip(past, of_keys, strict=True):
                hit = any((code ^ of_queries[query]).bit_count() <= config.radius for query in block)
                near.update({(head, query, key): hit for query in block})
    return lambda head, query, key: key in own or near[head, query, key]


@pytest.mark.parametrize("config", EVERYTHING, ids=repr)
@pytest.mark.parametrize("view", [make_view(batch=2), merged_view()], ids=["frames", "merged"])
def test_visiting_every_bucket_is_dense(config, view):
    q = draw(view.k.shape[0], CHUNK * TOKENS, view.plan.heads, 16, seed=9)
    found = selection(config, view.plan.heads)
    out = found.attend(q, view, NOISY, attend_densely)
    torch.testing.assert_close(out, dense(q, view), atol=1e-5, rtol=0)


@pytest.mark.parametrize("view", [make_view(), merged_view()], ids=["frames", "merged"])
@pytest.mark.parametrize("radius", [0, 1])
def test_hashed_attention_is_the_literal_one(view, radius):
    config = dataclasses.replace(SEARCHES[1], radius=radius)
    q = draw(1, CHUNK * TOKENS, view.plan.heads, 16, seed=9)
    found = selection(config, view.plan.heads)
    out = found.attend(q, view, CLEAN, attend_densely)
    weights = []
    expected = literal(q, view, lsh_reads(q, view, config), weights)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    count = found._count
    assert int(count.read) == sum(mask.sum().item() for _, mask in weights)
    assert count.held == q.shape[1] * view.plan.keys_read
    recall = torch.stack([(each * mask).sum(-1).mean() for each, mask in weights]).mean()
    assert count.recall == pytest.approx(recall.item(), abs=1e-5)


@pytest.mark.parametrize("config", SEARCHES, ids=repr)
def test_something_is_left_out_but_never_of_the_own_chunk(config):
    view, q = make_view(), draw(1, CHUNK * TOKENS, 2, 16, seed=9)
    first = selection(config)
    out = first.attend(q, view, NOISY, attend_densely)
    assert not torch.allclose(out, dense(q, view), atol=1e-3)
    assert CHUNK / (5 + CHUNK) < int(first._count.read) / first._count.held < 1
    # The next pass: the same history, another chunk. What is kept from pass to pass knows nothing of it.
    again = KVView(view.k.clone(), view.v.clone(), view.plan, view.own, view.version, None)
    own = slice(*view.own)
    again.k[:, own], again.v[:, own] = draw(2, 1, CHUNK * TOKENS, 2, 16, seed=5)
    found = first.attend(q, again, NOISY, attend_densely)
    fresh = selection(config).attend(q, again, NOISY, attend_densely)
    assert torch.equal(found, fresh) and not torch.equal(found, out)


def test_queries_like_one_key_find_it():
    """A query that is a key of the history attends to it nearly alone, and finds it."""
    view = make_view(6)
    q = (view.k[:, : CHUNK * TOKENS] * 6).clone()
    view.k[:, view.own[0] : view.own[1]] = 0
    for config in SEARCHES:
        config = dataclasses.replace(config, block=1)
        out = selection(config).attend(q, view, NOISY, attend_densely)
        close = (out - dense(q, view)).abs().amax(-1) < 0.1
        assert close.float().mean() > (0.8 if config.search == "quant" else 0.6)


@dataclasses.dataclass(frozen=True)
class Counting(AnnSA):
    """AnnSA that notes every history it is asked to put into buckets."""

    indexed: list = dataclasses.field(default_factory=list, compare=False)

    @property
    def method(self):
        return CountedSearch(self.bits, self.share, self.indexed)


class CountedSearch:
    def __init__(self, bits, share, indexed):
        self._search, self._indexed = AnnSA(bits=bits, share=share).method, indexed

    def __getattr__(self, name):
        return getattr(self._search, name)

    def index(self, keys, *args):
        self._indexed.append(keys.shape[0])
        return self._search.index(keys, *args)


def test_a_history_is_sorted_once():
    config = Counting(bits=3, **EAGER)
    found, q = selection(config), draw(1, CHUNK * TOKENS, 2, 16, seed=9)
    for _ in range(4):
        found.attend(q, make_view(), NOISY, attend_densely)
    assert len(config.indexed) == 1 and found.bytes > 0
    found.attend(q, make_view(version=1), NOISY, attend_densely)
    found.attend(q, make_view(6, version=2), NOISY, attend_densely)
    assert config.indexed == [5 * TOKENS, 5 * TOKENS, 6 * TOKENS]
    found.free()
    assert found.bytes == 0


@pytest.mark.parametrize(
    ("config", "clock", "frames", "searches"),
    [
        (AnnSA(min_recall=0.0), NOISY, 9, True),
        (AnnSA(min_recall=0.0), NOISY, 8, False),
        (AnnSA(min_recall=0.0), dataclasses.replace(NOISY, pass_index=0), 9, False),
        (AnnSA(min_recall=0.0, dense_passes=2), NOISY, 9, False),
        (AnnSA(min_recall=0.0, dense_passes=2), dataclasses.replace(NOISY, pass_index=2), 9, True),
        (AnnSA(min_recall=0.0), CLEAN, 9, False),
        (AnnSA(min_recall=0.0, sparse_clean=True, dense_passes=9), CLEAN, 9, True),
        (AnnSA(), NOISY, 9, False),
    ],
)
def test_what_is_dense(config, clock, frames, searches):
    found, view = selection(config), make_view(frames)
    q = draw(1, CHUNK * TOKENS, 2, 16, seed=9)
    out = found.attend(q, view, clock, attend_densely)
    torch.testing.assert_close(dense(q, view), out, atol=1e-5, rtol=0) if not searches else None
    assert (int(found._count.read) < found._count.held) == searches


@pytest.mark.parametrize(("least", "searches"), [(0.99, False), (0.1, True)])
def test_layers_whose_keys_are_not_found_stay_dense(least, searches):
    config = AnnSA(bits=3, block=4, min_recall=least)
    found, q = selection(config), draw(1, CHUNK * TOKENS, 2, 16, seed=9)
    found.attend(q, make_view(9), CLEAN, attend_densely)
    assert int(found._count.read) == found._count.held and 0.1 < found._count.recall < 0.99
    found.attend(q, make_view(12, version=1), NOISY, attend_densely)
    assert (int(found._count.read) < found._count.held) == searches


def test_recall_is_measured_again_when_the_history_has_doubled():
    config = Counting(bits=3, block=4, min_recall=0.99)
    found, q = selection(config), draw(1, CHUNK * TOKENS, 2, 16, seed=9)
    for version, frames in enumerate((6, 9, 12, 15, 18, 21)):
        found.attend(q, make_view(frames, version=version), CLEAN, attend_densely)
    assert config.indexed == [9 * TOKENS, 18 * TOKENS]


def video(tiny_wan, config, total=18, seed=0):
    """A small video: latents, and what it cost."""
    stream = StreamConfig((1.0, 0.6, 0.3, 0.0), CHUNK, total, (4, 4), channels=4, memory=config)
    tally, latents = Tally(stream), []
    for event in stream_video(tiny_wan, draw(1, 5, 16, seed=1), stream, SeededNoise(seed)):
        tally.add(event)
        if hasattr(event, "latents"):
            latents.append(event.latents)
    return torch.cat(latents, dim=2), tally.report(1.0)


@pytest.mark.parametrize("keep", [Dense(), Window(1, 7), DummyForcing(local_context=2)], ids=repr)
@pytest.mark.parametrize("config", EVERYTHING, ids=repr)
def test_videos_that_visit_every_bucket_are_dense_ones(tiny_wan, config, keep):
    found, report = video(tiny_wan, MemoryConfig(keep, select=config))
    expected, plain = video(tiny_wan, MemoryConfig(keep))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert report.selected.density == 1 and plain.selected is None
    assert (report.roles is None) or torch.equal(report.roles, plain.roles)


@pytest.mark.parametrize("merge", [TempCache(0.5, budget=12), QuantisedKV("int8")], ids=repr)
@pytest.mark.parametrize("config", EVERYTHING, ids=repr)
def test_merged_histories_are_searched(tiny_wan, config, merge):
    """TempCache's biases go with its keys into the buckets."""
    expected, _ = video(tiny_wan, MemoryConfig(merge=merge))
    found, _ = video(tiny_wan, MemoryConfig(merge=merge, select=config))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    fewer = dataclasses.replace(config, share=0.25, radius=0)
    some, report = video(tiny_wan, MemoryConfig(merge=merge, select=fewer))
    assert report.selected.density < 1 and not torch.allclose(some, expected, atol=1e-4)


@pytest.mark.parametrize("config", SEARCHES, ids=repr)
def test_videos_are_the_same_every_time_and_say_what_was_read(tiny_wan, config):
    (first, report), (again, _) = (video(tiny_wan, MemoryConfig(select=config)) for _ in range(2))
    assert torch.equal(first, again)
    selected = report.selected
    assert 0 < selected.density < 1 and 0 < selected.recall < 1 and len(selected.layers) == 2
    assert json.loads(json.dumps(report.to_dict()["selected"]))["density"] == selected.density
    assert f"{selected.density:.0%} of the keys read" in describe_run(report)


def test_opening_frames_that_move_are_sorted_anew(tiny_wan):
    """Relative positions turn the sink's keys between passes of other lengths; all buckets still are everything."""
    memories = (MemoryConfig(Window(1, 7), Relative(), select=each) for each in EVERYTHING)
    expected, _ = video(tiny_wan, MemoryConfig(Window(1, 7), Relative()))
    for memory in memories:
        torch.testing.assert_close(video(tiny_wan, memory)[0], expected, atol=1e-5, rtol=0)


def test_observers_see_every_key():
    seen = []

    class Watch:
        def wants(self, clock):
            return True

        def observe(self, layer, q, k, key_frames, clock):
            seen.append((k.shape[1], len(key_frames)))

    video = VideoShape(1, 2, CHUNK, 9, grid=(1, TOKENS), head_dim=16)
    memory = MemoryConfig(select=SEARCHES[0]).begin(video, [Watch()])
    for chunk in range(3):
        clock = ChunkClock(chunk, CHUNK * chunk, CHUNK, TOKENS, 1, 0.0, True)
        memory.attend(0, *draw(3, 1, CHUNK * TOKENS, 2, 16, seed=chunk), clock)
        memory.commit(clock)
    assert seen == [(frames * TOKENS, frames) for frames in (3, 6, 9)]
    assert memory.status.selected.density < 1
    memory.close()


def test_share_is_known_where_nothing_is_searched():
    config = AnnSA()
    run = config.begin(VideoShape(1, 2, CHUNK, grid=(1, TOKENS), head_dim=16))
    whole, clock = Retention(last=None), ChunkClock(3, 9, CHUNK, TOKENS, 1, 0.5, False)
    assert run.share(whole, clock) is None
    assert run.share(Retention(last=3), clock) == 1
    assert run.share(whole, dataclasses.replace(clock, pass_index=0)) == 1
    assert run.share(whole, dataclasses.replace(clock, clean=True)) == 1
    assert run.selection(0, (StoreHeads((0, 1), whole),), None).bytes == 0


@pytest.mark.parametrize("select", [AnnSA(), AnnSA("lsh", 8, 0.5, 2, 64, 12, 2, True, 0.5, 3)], ids=repr)
def test_json_round_trip(select):
    config = MemoryConfig(select=select)
    assert MemoryConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "tree"}, "'quant' or 'lsh'"),
        ({"bits": 0}, "from 1 to 10"),
        ({"share": 0}, "above 0 up to 1"),
        ({"radius": -1}, "0 or more"),
        ({"block": 0}, "1 or more"),
        ({"min_frames": 0}, "1 or more"),
        ({"dense_passes": -1}, "0 or more"),
        ({"min_recall": 1.5}, "from 0 to 1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(DummyForcingError, match=message):
        AnnSA(**options)


@pytest.mark.parametrize(
    ("keep", "chunk", "most"),
    [
        (DummyForcing(), 3, 3),
        (DummyForcing(local_context=2), 3, 6),
        (Window(3, 11), 3, 8),
        (Window(1, 10), 3, 7),
        (RollingWindow(1, 8), 3, 5),
        (DummyForcing(local_context=5), 1, 5),
    ],
)
def test_histories_too_short_to_be_searched_are_refused(keep, chunk, most):
    """By what heads hold before a chunk of this video, not before chunks of 3."""
    video = VideoShape(2, 4, chunk, grid=(1, TOKENS), head_dim=16)
    with pytest.raises(DummyForcingError, match=f"with chunks of {chunk} heads hold {most} at most"):
        MemoryConfig(keep, select=AnnSA()).begin(video)
    MemoryConfig(keep, select=AnnSA(min_frames=3)).begin(video)


def test_a_stream_says_so_before_anything_runs():
    with pytest.raises(DummyForcingError, match="heads hold 7 at most"):
        StreamConfig((1.0, 0.0), 3, 21, (4, 4), memory=MemoryConfig(Window(1, 10), select=AnnSA()))


@pytest.mark.gpu
@pytest.mark.parametrize("config", [*EVERYTHING, *SEARCHES], ids=repr)
@pytest.mark.parametrize("view", [make_view(9), merged_view()], ids=["frames", "merged"])
def test_nothing_waits_for_a_gpu(config, view):
    def on_gpu(seed):
        plan = ReadPlan(view.plan.ranges, None if view.plan.bias is None else view.plan.bias.cuda())
        return KVView(view.k.cuda(), view.v.cuda(), plan, view.own, seed, None)

    found, views = selection(config, view.plan.heads), [on_gpu(seed) for seed in range(2)]
    q = draw(1, CHUNK * TOKENS, view.plan.heads, 16, seed=9).cuda()
    out = found.attend(q, views[0], CLEAN, attend_densely)  # compiles and measures back ends
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = found.attend(q, views[1], CLEAN, attend_densely)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(out, again)
    if config in EVERYTHING:
        torch.testing.assert_close(again.cpu(), dense(q.cpu(), view), atol=1e-4, rtol=0)
