"""Light Forcing: dense where it must be, literal where it selects, counted where it is read."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory.retention import Retention
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.kv_quantisation import QuantisedKV
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.light_forcing.block_choice import block_size
from dummy_forcing.core.methods.light_forcing.growth import ChunkGrowth
from dummy_forcing.core.methods.plain import AllKeys
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.shape import WAN_1_3B
from dummy_forcing.kernels import attend_densely

CHUNK = 3
EVERY_PASS = {"dense_first_pass": False, "dense_clean_pass": False}
SMALL = {"block_q": 4, "block_k": 2, **EVERY_PASS}


class Watched:
    """A `Memory` of one layer that is fed random tensors, and what its queries see."""

    heads, head_dim, batch = 2, 12, 2

    def __init__(self, config, *, tokens=5, total=21, dense=attend_densely, heads=2):
        self.tokens, self.heads = tokens, heads
        video = VideoShape(1, heads, CHUNK, total, batch=self.batch, grid=(1, tokens), head_dim=self.head_dim)
        watches = () if isinstance(config.keep, DummyForcing) else (self,)
        self.dense = dense
        self.memory = config.begin(video, watches)
        self.values = {}
        self._generator = torch.Generator().manual_seed(0)

    def wants(self, clock):
        return True

    def observe(self, layer, q, k, key_frames, clock):
        self.seen = q.clone(), k.clone(), tuple(key_frames)

    def clock(self, chunk, *, clean=False, index=1):
        return ChunkClock(chunk, chunk * CHUNK, CHUNK, self.tokens, index, 0.5, clean)

    def attend(self, clock):
        size = (3, self.batch, CHUNK * self.tokens, self.heads, self.head_dim)
        q, k, v = torch.randn(size, generator=self._generator)
        self.values.update(zip(clock.positions, v.split(self.tokens, 1), strict=True))
        return self.memory.attend(0, q, k, v, clock, dense=self.dense)

    def commit(self, chunk):
        clock = self.clock(chunk, clean=True)
        self.attend(clock)
        self.memory.commit(clock)


def literal(q, k, v, frames, method, sparsity, tokens):
    """One item and head, a block of queries at a time: q [Lq, D], k and v [Lk, D].

    After docs/references.md, "Light Forcing's choice of blocks".
    """
    size_q, size_k = block_size(tokens, method.block_q), block_size(tokens, method.block_k)
    past = frames[:-CHUNK]
    blocks = [
        (place, slice(place * tokens + at, place * tokens + min(at + size_k, tokens)))
        for place in range(len(frames))
        for at in range(0, tokens, size_k)
    ]
    own = [place >= len(past) for place, _ in blocks]
    if method.keep_current:
        budget = sum(own) + max(1, math.floor((1 - sparsity) * own.count(False) + 1e-9))
    else:
        budget = math.floor((1 - sparsity) * len(blocks) + 1e-9)
    out, mean = [], [k[keys].mean(0) for _, keys in blocks]
    for at in range(0, len(q), size_q):
        asking = q[at : at + size_q]
        query = asking.mean(0)
        eligible = set(range(len(frames)))
        keep = max(method.keep_frames, math.ceil((budget - sum(own)) / (len(blocks) // len(frames))))
        if len(past) > keep:
            opening = {f for f in past if f < method.sink}
            later = sorted(set(past) - opening)
            near = set(later[len(later) - method.near :])
            fit = {}
            for place, frame in enumerate(past):
                of_frame = [m for m, (where, _) in zip(mean, blocks, strict=True) if where == place]
                fit[frame] = float(query @ torch.stack(of_frame).mean(0))
            middle = sorted((f for f in past if f not in opening | near), key=lambda f: -fit[f])
            middle = middle[: keep - len(opening) - len(near)]
            allowed = opening | near | set(middle) | set(frames[-CHUNK:])
            eligible = {place for place, frame in enumerate(frames) if frame in allowed}
        ranked = sorted(
            (index for index, (place, _) in enumerate(blocks) if place in eligible),
            key=lambda index: (not (method.keep_current and own[index]), -float(query @ mean[index])),
        )
        keys = torch.cat([torch.arange(*blocks[index][1].indices(len(k))) for index in ranked[:budget]])
        weights = (asking @ k[keys].T / math.sqrt(q.shape[-1])).softmax(-1)
        out.append(weights @ v[keys])
    return torch.cat(out)


# Every window holds more than the 6 frames that are kept at most: all of them select.
KEEPS = st.sampled_from(
    [
        MemoryConfig(),
        MemoryConfig(Window(2, 12)),
        MemoryConfig(Window(0, 10)),
        MemoryConfig(Window(1, 10), Relative()),
    ]
)


@settings(max_examples=15, deadline=None)
@given(
    KEEPS,
    st.sampled_from([0.3, 0.6, 0.85]),
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)),
    st.sampled_from([(5, 2, 2), (4, 2, 4), (6, 64, 64)]),
    st.booleans(),
)
def test_selection_is_the_literal_one(config, sparsity, frames, sizes, keep_current):
    """Every item, head and block of queries, on what an observer sees of the same pass."""
    (sink, near, middle), (tokens, block_q, block_k) = frames, sizes
    method = LightForcing(
        sparsity, None, sink + near + middle, sink, near, block_q, block_k, keep_current=keep_current, **EVERY_PASS
    )
    run = Watched(MemoryConfig(config.keep, config.rope, select=method), tokens=tokens)
    window = None if isinstance(config.keep, Dense) else config.keep.size
    growth = ChunkGrowth.solve(sparsity, method.final_base, VideoShape(1, 2, CHUNK, 21), window)
    for chunk in range(6):
        for clock in (run.clock(chunk), run.clock(chunk, index=2)):
            out = run.attend(clock)
            q, k, seen = run.seen
            v = torch.cat([run.values[frame] for frame in seen], 1)
            for item in range(2):
                for head in range(2):
                    each = (tensor[item, :, head] for tensor in (q, k, v))
                    sparse = growth.at((chunk + 1) * CHUNK) if chunk else 0.0
                    if not sparse:
                        expected = attend_densely(q, k, v)[item, :, head]
                    else:
                        expected = literal(*each, seen, method, sparse, tokens)
                    torch.testing.assert_close(out[item, :, head], expected, atol=1e-5, rtol=0)
        run.commit(chunk)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([Dense(), Window(2, 12), Window(1, 18)]),
    st.sampled_from([0.0, 0.1, 0.5, 0.75, 0.88]),
    st.booleans(),
    st.integers(0, 6),
)
def test_what_is_read_is_the_schedule(keep, sparsity, keep_current, chunk):
    """Keys counted in the calls that attention makes, where blocks are all of one size."""
    method = LightForcing(sparsity, None, 4, keep_current=keep_current, **SMALL)
    counted, share = count_keys(keep, method, chunk)
    history = min(3 * chunk, keep.size - CHUNK) if isinstance(keep, Window) else 3 * chunk
    total, own = 4 * (history + CHUNK), 4 * CHUNK  # blocks of 2 tokens
    window = keep.size if isinstance(keep, Window) else None
    growth = ChunkGrowth.solve(sparsity, method.final_base, VideoShape(1, 2, CHUNK, 21), window)
    left = 1 - (growth.at(3 * chunk + 3) if chunk else 0)
    wanted = own + math.floor(left * (total - own) + 1e-9) if keep_current else math.floor(left * total + 1e-9)
    assert counted == 2 * wanted
    assert share == wanted / total


def count_keys(keep, method, chunk):
    """Keys that a query of the chunk's second pass reads, and the share that is said to be read."""
    read = []

    def count(q, k, v):
        read.append(q.shape[0] * q.shape[1] * q.shape[2] * k.shape[1])
        return torch.zeros_like(q)

    config = MemoryConfig(keep, select=method)
    run = Watched(config, tokens=8, dense=count)
    for before in range(chunk):
        run.commit(before)
    read.clear()
    run.attend(run.clock(chunk))
    ((member,),) = keep.begin(run.memory.video).start()
    share = method.begin(run.memory.video).share(member.retention, run.clock(chunk))
    return sum(read) / (run.batch * run.heads * CHUNK * run.tokens), share


@pytest.mark.parametrize("keep", [Dense(), Window(3, 12), DummyForcing(), DummyForcing(0.25, None)])
def test_sparsity_0_is_dense(keep, latents):
    """The same tensors, bit by bit."""
    assert torch.equal(latents(MemoryConfig(keep, select=LightForcing(0.0, **SMALL))), latents(MemoryConfig(keep)))


def test_selecting_changes_what_comes_out(latents):
    sparse = latents(MemoryConfig(select=LightForcing(0.7, **SMALL)))
    assert sparse.isfinite().all() and not torch.equal(sparse, latents(MemoryConfig()))


@pytest.mark.parametrize("keep", [Dense(), DummyForcing(0.5, 4)])
def test_items_of_a_batch_select_for_themselves(keep, latents):
    """Alone or together, an item becomes the same video."""
    keep = keep if isinstance(keep, Dense) else DummyForcing(0.5, 4, roles=((0, 1, 2, 1), (2, 1, 1, 0)))
    config = MemoryConfig(keep, select=LightForcing(0.7, **SMALL))
    both = latents(config, batch=2)
    torch.testing.assert_close(latents(config, batch=1), both[:1], atol=1e-5, rtol=0)


def test_quantised_keys_are_chosen_among(latents):
    """As good as the same in full precision, and not what dense attention over them gives."""
    select = LightForcing(0.7, **SMALL)
    quantised = latents(MemoryConfig(merge=QuantisedKV("int8"), select=select))
    sparse, dense = (latents(MemoryConfig(select=each)) for each in (select, AllKeys()))
    assert (quantised - sparse).abs().mean() < 0.2 * (dense - sparse).abs().mean()


def test_merged_keys_are_refused():
    with pytest.raises(DummyForcingError, match=r"TempCache merges tokens .* remove"):
        MemoryConfig(Window(3, 12), merge=TempCache(), select=LightForcing())


@pytest.fixture
def latents(tiny_wan, collect_latents):
    """A function that makes a small video."""

    def run(config, batch=1):
        text = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))[:batch]
        stream = StreamConfig((1.0, 0.6, 0.0), CHUNK, 21, (4, 4), channels=4, memory=config)
        return collect_latents(stream_video(tiny_wan, text, stream, RowNoise(0)))

    return run


class RowNoise(SeededNoise):
    """The same noise for an item, whatever comes after it in the batch."""

    def draw(self, chunk, pass_index, shape):
        return super().draw(chunk, pass_index, (2, *shape[1:]))[: shape[0]]


@pytest.mark.parametrize(
    ("options", "dense"),
    [({}, (True, False, True)), ({"dense_first_pass": False}, (False, False, True)), (EVERY_PASS, (False,) * 3)],
)
def test_passes_that_read_everything(options, dense):
    method = LightForcing(0.7, block_q=4, block_k=2, **options)
    run = method.begin(VideoShape(1, 2, CHUNK, 21, grid=(1, 8)))
    clocks = [ChunkClock(4, 12, 3, 8, index, 0.5, index == 2) for index in range(3)]
    assert tuple(run.share(Retention(last=None), clock) == 1 for clock in clocks) == dense


@pytest.mark.parametrize(("local_context", "neighbor_frames"), [(2, 9), (3, 12 / 2)])
def test_only_long_neighbor_heads_select(local_context, neighbor_frames):
    """Sink and dummy heads hold a frame each and read it; neighbor heads that hold `keep_frames` at most do too."""
    roles = ((HeadRole.SINK.value, HeadRole.DUMMY.value, HeadRole.NEIGHBOR.value, HeadRole.NEIGHBOR.value),)
    read = []

    def count(q, k, v):
        read.append(q.shape[0] * q.shape[1] * q.shape[2] * k.shape[1])
        return torch.zeros_like(q)

    config = MemoryConfig(DummyForcing(0.25, local_context, roles=roles), select=LightForcing(0.5, 0.5, 6, **SMALL))
    run = Watched(config, tokens=8, heads=4, dense=count)
    for chunk in range(5):
        run.commit(chunk)
    read.clear()
    run.attend(run.clock(5))
    queries = run.batch * CHUNK * 8
    assert sum(read) == queries * 8 * (2 * 4 + 2 * neighbor_frames)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sparsity": 1.0}, r"sparsity is 1\.0; expected a number from 0 below 1"),
        ({"sparsity": -0.1}, "expected a number from 0"),
        ({"sparsity": math.nan}, "sparsity is nan"),
        ({"base": 0.5}, r"base is 0\.5 for a sparsity of 0\.7; expected at least the sparsity"),
        ({"base": 1.0}, "from 0 below 1"),
        ({"keep_frames": 2}, r"raise keep frames to at least 3 or lower sink and near"),
        ({"sink": -1}, "sink is -1; expected 0 or more"),
        ({"block_k": 0}, "expected at least 1"),
    ],
)
def test_bad_values(options, said):
    with pytest.raises(DummyForcingError, match=said):
        LightForcing(**options)


def test_the_authors_values():
    """Sparsity, base, keep frames, sink, near; no pass is dense and no block is forced.

    From docs/references.md, "Light Forcing's choice of blocks".
    """
    for method, values in (
        (LightForcing.tuned(), (0.88, 0.98, 6, 1, 2)),
        (LightForcing.tuned_long(), (0.85, 0.95, 3, 1, 1)),
    ):
        assert (method.sparsity, method.final_base, method.keep_frames, method.sink, method.near) == values
        assert not (method.dense_first_pass or method.dense_clean_pass or method.keep_current)


@pytest.mark.parametrize("latent_size", [(60, 104), (90, 160), (136, 240)])
@pytest.mark.parametrize("keep", [Dense(), Window(3, 12), DummyForcing(0.5, 4)])
def test_pooled_keys_are_a_small_share_of_keys_and_values(latent_size, keep):
    """At Wan's shapes, 480p to 1080p: allocated from the beginning, below 5 % and forecast."""
    tokens = latent_size[0] * latent_size[1] // 4
    video = VideoShape(
        WAN_1_3B.layers, WAN_1_3B.heads, CHUNK, 21, grid=(1, tokens), head_dim=128, dtype=torch.bfloat16
    )
    plain = forecast_kv(MemoryConfig(keep), video)
    ours = forecast_kv(MemoryConfig(keep, select=LightForcing()), video)
    assert 1 < ours.peak_bytes / plain.peak_bytes < 1.05
    assert 1 < ours.final_bytes / plain.final_bytes < 1.05


def test_bytes_stay_and_are_freed():
    run = Watched(MemoryConfig(Window(1, 9), select=LightForcing(0.7, keep_frames=3, **SMALL)), total=None)
    sizes = set()
    for chunk in range(6):
        run.commit(chunk)
        sizes.add(run.memory.status.bytes)
    assert len(sizes) == 1
    run.memory.close()
    assert run.memory.status.bytes == 0


def test_a_history_of_unknown_length_grows():
    run = Watched(MemoryConfig(select=LightForcing(0.7, **SMALL)), total=None)
    for chunk in range(8):
        run.commit(chunk)
    assert run.attend(run.clock(8)).isfinite().all()
