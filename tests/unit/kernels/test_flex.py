"""Which tiles compiled FlexAttention visits; eager FlexAttention, as the other tests run it, looks at no tiles."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.kernels.flex import _TILE, _block_mask


def listed(count, indices):
    """The tiles that a block mask lists, as bool [heads, query tiles, key tiles]."""
    found = torch.zeros(indices.shape[1:], dtype=torch.bool)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in count.shape[1:])).tolist():
        found[place[0], place[1], indices[0, place[0], place[1], : count[0, place[0], place[1]]].long()] = True
    return found


@given(
    queries=st.integers(1, 400),
    keys=st.integers(1, 400),
    block_q=st.one_of(st.integers(1, 20), st.integers(21, 450)),
    seed=st.integers(0, 999),
)
@settings(deadline=None, max_examples=60)
def test_tiles_are_whole_partial_or_left_out(queries, keys, block_q, seed):
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-queries // block_q)
    # runs of keys, so that some tiles are whole
    runs = torch.rand(2, blocks, -(-keys // 50), generator=generator) < 0.6
    allowed = runs.repeat_interleave(50, dim=2)[:, :, :keys].contiguous()
    allowed |= torch.rand(2, blocks, 1, generator=generator) < 0.4
    mask = _block_mask(allowed, block_q, queries)

    each = allowed.repeat_interleave(block_q, dim=1)[:, :queries]
    whole, partial = (torch.zeros(2, -(-queries // _TILE), -(-keys // _TILE), dtype=torch.bool) for _ in range(2))
    for row in range(whole.shape[1]):
        for column in range(whole.shape[2]):
            tile = each[:, row * _TILE : (row + 1) * _TILE, column * _TILE : (column + 1) * _TILE].flatten(1)
            whole[:, row, column] = tile.all(dim=1) & ((column + 1) * _TILE <= keys)
            partial[:, row, column] = tile.any(dim=1) & ~whole[:, row, column]
    assert torch.equal(listed(mask.full_kv_num_blocks, mask.full_kv_indices), whole)
    assert torch.equal(listed(mask.kv_num_blocks, mask.kv_indices), partial)
