"""Seeded noise: what it depends on, and what it leaves alone."""

import itertools

import pytest
import torch

from dummy_forcing.core.stream.noise import SeededNoise

SHAPE = (1, 16, 3, 4, 4)


def test_the_same_key_gives_the_same_noise_in_any_order():
    forwards = [SeededNoise(7).draw(chunk, p, SHAPE) for chunk, p in itertools.product(range(3), range(2))]
    source = SeededNoise(7)
    backwards = [source.draw(chunk, p, SHAPE) for chunk, p in reversed([*itertools.product(range(3), range(2))])]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_seed_chunk_and_pass_all_matter():
    """Also where their sums or their digits agree."""
    keys = [*itertools.product((0, 1, 11, -1, 2**63, 2**70), (0, 1, 11), (0, 1, 11))]
    draws = {tuple(SeededNoise(seed).draw(chunk, p, (8,)).tolist()) for seed, chunk, p in keys}
    assert len(draws) == len(keys)


def test_noise_is_standard_normal_fp32_on_the_cpu():
    noise = SeededNoise(0).draw(0, 0, (1, 16, 30, 8, 8))
    assert noise.dtype == torch.float32
    assert noise.device.type == "cpu"
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)


def test_neighbouring_seeds_and_chunks_are_uncorrelated():
    size = (100_000,)
    draws = torch.stack(
        [SeededNoise(seed).draw(chunk, p, size) for seed, chunk, p in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]]
    )
    correlations = torch.corrcoef(draws) - torch.eye(4)
    assert correlations.abs().max() < 0.02


def test_global_generators_are_left_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = SeededNoise(1).draw(0, 0, SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert torch.equal(SeededNoise(1).draw(0, 0, SHAPE), first)
