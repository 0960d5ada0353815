import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads import head_scores as score
from dummy_forcing.core.heads.head_scores import attention_mass, sample_rows


def reference(q, k, key_frames, current_start, rows=None):
    """Eq. 3 written out: softmax over all keys, summed per bin, averaged over the queries, in fp64."""
    q = q if rows is None else q[:, rows]
    logits = torch.einsum("bqhd,bkhd->bhqk", q.double(), k.double()) / q.shape[-1] ** 0.5
    frames = torch.tensor(key_frames).repeat_interleave(k.shape[1] // len(key_frames))
    current = frames >= current_start
    bins = [~current & (frames == 0), ~current & (frames != 0), current]
    mass = logits.softmax(-1).mean(2)
    return torch.stack([mass[..., chosen].sum(-1) for chosen in bins], -1).float()


def random_qk(queries, keys, *, batch=1, heads=3, dim=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(batch, queries, heads, dim, generator=generator).to(dtype)
    return q, (2 * torch.randn(batch, keys, heads, dim, generator=generator)).to(dtype)


@settings(max_examples=30, deadline=None)
@given(
    chunk=st.integers(0, 4),
    frames=st.integers(1, 4),
    tokens=st.integers(1, 5),
    batch=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_mass_is_the_softmax_mass_of_each_bin(chunk, frames, tokens, batch, seed):
    start = chunk * frames
    key_frames = list(range(start + frames))
    q, k = random_qk(frames * tokens, len(key_frames) * tokens, batch=batch, seed=seed)
    rows = sample_rows(frames * tokens, 0.5, seed=seed, layer=0)
    mass = attention_mass(q, k, key_frames, start, rows)
    assert mass.dtype == torch.float32
    assert mass.shape == (batch, 3, 3)
    torch.testing.assert_close(mass, reference(q, k, key_frames, start, rows), atol=2e-6, rtol=0)
    torch.testing.assert_close(mass.sum(-1), torch.ones(batch, 3), atol=1e-6, rtol=0)


def test_first_chunk_is_all_current_although_it_holds_frame_0():
    q, k = random_qk(6, 6)
    assert attention_mass(q, k, [0, 1, 2], 0).equal(torch.tensor([0.0, 0.0, 1.0]).expand(1, 3, 3))


def test_bins_follow_frame_numbers_not_places():
    """A store may keep the sink last and drop frames in between."""
    q, k = random_qk(4, 10)
    key_frames = [7, 0, 8, 9, 5]
    torch.testing.assert_close(
        attention_mass(q, k, key_frames, 8), reference(q, k, key_frames, 8), atol=2e-6, rtol=0
    )


def test_equal_keys_give_the_share_of_frames():
    q, _ = random_qk(4, 1)
    k = torch.ones(1, 12, 3, 16)
    expected = torch.tensor([1 / 6, 2 / 6, 3 / 6]).expand(1, 3, 3)
    torch.testing.assert_close(attention_mass(q, k, range(6), 3), expected)


@pytest.mark.parametrize("limit", [1, 7, 60, 500])
def test_blocks_do_not_change_the_mass(monkeypatch, limit):
    q, k = random_qk(10, 12, batch=2)
    whole = attention_mass(q, k, range(4), 3)
    monkeypatch.setattr(score, "MAX_LOGITS", limit)
    torch.testing.assert_close(attention_mass(q, k, range(4), 3), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("limit", [1, 40, 100, 250, 10_000])
def test_blocks_cover_everything_once_within_the_limit(monkeypatch, limit):
    monkeypatch.setattr(score, "MAX_LOGITS", limit)
    seen = torch.zeros(5, 9)
    for heads, rows in score._blocks(torch.Size((2, 5, 9, 16)), 12):
        seen[heads, rows] += 1
        size = 2 * 12 * seen[heads, rows].numel()
        assert size <= max(limit, 2 * 12)  # one row of one head is the least there is
    assert seen.equal(torch.ones(5, 9))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close_and_sums_to_one(dtype):
    q, k = random_qk(64, 96, dtype=dtype, dim=64)
    mass = attention_mass(q, k, range(6), 3)
    assert mass.dtype == torch.float32
    torch.testing.assert_close(mass, reference(q, k, range(6), 3), atol=2e-3, rtol=0)
    torch.testing.assert_close(mass.sum(-1), torch.ones(1, 3), atol=1e-6, rtol=0)


def test_no_gradient_is_kept():
    q, k = random_qk(4, 8)
    assert not attention_mass(q.requires_grad_(), k.requires_grad_(), [0, 1], 1).requires_grad


def test_keys_must_divide_into_frames():
    q, k = random_qk(4, 10)
    with pytest.raises(ValueError, match="10 keys"):
        attention_mass(q, k, [0, 1, 2], 1)


@given(
    queries=st.integers(1, 300),
    fraction=st.floats(0.001, 1),
    seed=st.integers(-5, 2**40),
    layer=st.integers(0, 50),
)
def test_rows_are_a_sorted_sample_without_repeats(queries, fraction, seed, layer):
    rows = sample_rows(queries, fraction, seed=seed, layer=layer)
    assert rows.dtype == torch.int64
    assert len(rows) == max(1, round(queries * fraction))
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert 0 <= rows.min() <= rows.max() < queries
    assert rows.equal(sample_rows(queries, fraction, seed=seed, layer=layer))


def test_rows_depend_on_seed_and_layer_only_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    drawn = [sample_rows(1000, 0.1, seed=seed, layer=layer) for seed, layer in [(0, 0), (0, 1), (1, 0)]]
    assert torch.get_rng_state().equal(before)
    assert not drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])
    assert not drawn[1].equal(drawn[2])


def test_the_full_fraction_takes_every_row():
    assert sample_rows(7, 1.0, seed=3, layer=2).tolist() == list(range(7))


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(DummyForcingError, match="sampled queries"):
        sample_rows(10, fraction, seed=0, layer=0)
