"""Blocks of a frame, their means, and how many are chosen."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.methods.light_forcing.block_choice import (
    block_ranges,
    block_size,
    count_blocks,
    pool_blocks,
)


@pytest.mark.parametrize(
    ("tokens", "most", "size"),
    [
        (1536, 64, 64),  # the authors' 512 x 768
        (1536, 128, 128),
        (1560, 128, 120),  # 480p
        (1560, 64, 60),
        (3600, 128, 120),  # 720p
        (8160, 128, 120),  # 1080p
        (36, 12, 12),  # the toy world
        (36, 64, 36),
        (1559, 128, 120),  # a prime: 12 blocks of 120 and one of 119
        (5, 2, 2),
        (1, 128, 1),
    ],
)
def test_sizes(tokens, most, size):
    assert block_size(tokens, most) == size


@given(st.integers(1, 10_000), st.integers(1, 256))
def test_blocks_cover_a_frame_and_are_no_larger_than_asked(tokens, most):
    size = block_size(tokens, most)
    assert 1 <= size <= most
    ranges = block_ranges((0, tokens), tokens, size, torch.device("cpu")).tolist()
    assert [start for start, _ in ranges[1:]] == [end for _, end in ranges[:-1]]  # they touch
    assert tokens in [end for _, end in ranges] and ranges[-1][1] == 2 * tokens  # none crosses a frame
    assert len(ranges) <= 2 * (2 * -(-tokens // most))


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.sampled_from([torch.float32, torch.bfloat16]))
def test_means_of_blocks(tokens, size, dtype):
    x = torch.randn(2, tokens, 3, 4).to(dtype)
    expected = [x[:, at : at + size].float().mean(1) for at in range(0, tokens, size)]
    torch.testing.assert_close(pool_blocks(x, size), torch.stack(expected, 1).to(dtype), atol=1e-6, rtol=1e-2)


@given(st.integers(1, 2000), st.floats(0, 0.999))
def test_blocks_left_are_rounded_down(total, sparsity):
    left = count_blocks(total, sparsity)
    assert left == 1 or left <= (1 - sparsity) * total + 1e-6 < left + 1 + 1e-6


def test_no_block_is_lost_to_rounding():
    assert [count_blocks(100, s) for s in (0.9, 0.7, 0.1)] == [10, 30, 90]
    assert count_blocks(10, 0.95) == 1  # never nothing
