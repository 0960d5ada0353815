"""Rotary positions: the formula, relativity, and exactness at any length."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.wan.rope import rope_rotations
from dummy_forcing.kernels.norm_rope import apply_rope


def literal_rotations(frames, height, width, head_dim):
    """[tokens][head_dim / 2] complex: the channel pairs of time, rows and columns one after the other."""
    spatial = 2 * (head_dim // 6)
    axes = (head_dim - 2 * spatial, spatial, spatial)
    table = []
    for frame in frames:
        for row in range(height):
            for column in range(width):
                angles = [
                    place * 10000.0 ** (-2 * pair / channels)
                    for place, channels in zip((frame, row, column), axes, strict=True)
                    for pair in range(channels // 2)
                ]
                table.append([complex(math.cos(a), math.sin(a)) for a in angles])
    return torch.tensor(table, dtype=torch.complex64)


@pytest.mark.parametrize("head_dim", [12, 16, 24, 32, 64, 128])
@pytest.mark.parametrize("frames", [[0], [3, 4, 5], [0, 0, 9], [12345, 12346]])
def test_table_is_the_formula(head_dim, frames):
    found = rope_rotations(frames, 3, 5, head_dim)
    assert found.shape == (len(frames) * 15, 1, head_dim // 2)
    torch.testing.assert_close(found[:, 0], literal_rotations(frames, 3, 5, head_dim), atol=1e-6, rtol=0)


def test_wan_splits_a_head_of_128_into_44_42_42():
    """Time turns the first 22 pairs, rows the next 21, columns the last 21."""
    table = rope_rotations([0, 1], 2, 2, 128).view(2, 2, 2, 64)
    steps = {"time": (1, 0, 0), "rows": (0, 1, 0), "columns": (0, 0, 1)}
    turned = {axis: (table[step] != table[0, 0, 0]).nonzero().flatten().tolist() for axis, step in steps.items()}
    assert turned == {"time": [*range(22)], "rows": [*range(22, 43)], "columns": [*range(43, 64)]}


@given(a=st.integers(0, 60), b=st.integers(0, 60), shift=st.integers(0, 8000), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_logits_depend_on_differences_of_frames_only(a, b, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(1, 4, 2, 24, generator=generator) for _ in range(2))

    def logits(first, second):
        left, right = (apply_rope(x, rope_rotations([f], 2, 2, 24)) for x, f in ((q, first), (k, second)))
        return torch.einsum("bqhd,bkhd->bhqk", left, right)

    torch.testing.assert_close(logits(a, b), logits(a + shift, b + shift), atol=1e-4, rtol=0)


def test_logits_depend_on_differences_of_rows_and_columns_only():
    q, k = torch.randn(2, 24, generator=torch.Generator().manual_seed(0))
    table = rope_rotations([0], 6, 6, 24)
    grid_q, grid_k = (apply_rope(x.expand(1, 36, 1, 24), table)[0, :, 0] for x in (q, k))
    logits = (grid_q @ grid_k.T).view(6, 6, 6, 6)
    torch.testing.assert_close(logits[1:, :, 1:, :], logits[:-1, :, :-1, :], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[:, 1:, :, 1:], logits[:, :-1, :, :-1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("frame", [256, 1024, 5000, 100_000])
def test_neighbouring_frames_stay_apart_and_exact_far_out(frame):
    """bf16 positions merge them past 256, a table of 1024 ends (docs/references.md, "ComfyUI's positions")."""
    table = rope_rotations([frame, frame + 1], 1, 1, 128)[:, 0]
    step = table[1] / table[0]
    torch.testing.assert_close(step, rope_rotations([1], 1, 1, 128)[0, 0], atol=1e-6, rtol=0)
    assert (table[1] - table[0]).abs().max() > 0.9


def test_rotations_keep_lengths_and_the_dtype():
    x = torch.randn(2, 8, 3, 24, generator=torch.Generator().manual_seed(0))
    table = rope_rotations([700, 701], 2, 2, 24)
    turned = apply_rope(x, table)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    half = apply_rope(x.bfloat16(), table)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half, apply_rope(x.bfloat16().float(), table).bfloat16())


def test_a_view_with_strides_is_rotated_like_its_copy():
    """The memory and the host may hand in slices of larger tensors."""
    x = torch.randn(2, 8, 6, 24, generator=torch.Generator().manual_seed(0))
    table = rope_rotations([1, 2], 2, 2, 24)
    view = x[:, :, ::2]
    assert torch.equal(apply_rope(view, table), apply_rope(view.contiguous(), table))


def test_a_chunk_is_a_slice_of_the_whole_video():
    whole = rope_rotations(range(12), 3, 2, 32)
    assert torch.equal(rope_rotations(range(6, 9), 3, 2, 32), whole[6 * 6 : 9 * 6])
