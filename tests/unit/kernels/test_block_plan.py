"""Plans of query blocks: from a selection's table, from a `ReadPlan`, and what is refused."""

import pytest
import torch
from attention_cases import KEYS, qkv

from dummy_forcing.kernels import BlockPlan, ReadPlan, attend

CPU = torch.device("cpu")


def test_a_table_of_chosen_blocks_is_a_plan():
    table = torch.tensor([[[2, 0], [1, -1]], [[0, 1], [-1, -1]]])
    edges = torch.tensor([[0, 4], [4, 6], [6, 9]], dtype=torch.int32)
    plan = BlockPlan.from_table(table, edges, 3, block_k=4)
    assert (plan.heads, plan.query_blocks, plan.block_q, plan.keys_per_range) == (2, 2, 3, 4)
    assert plan.offsets.tolist() == [0, 2, 4, 6, 8]
    assert plan.ranges.tolist() == [[6, 9], [0, 4], [4, 6], [0, 0], [0, 4], [4, 6], [0, 0], [0, 0]]
    read = [[0, 1, 2, 3, 6, 7, 8], [4, 5]], [[0, 1, 2, 3, 4, 5], []]
    assert [[row.nonzero().flatten().tolist() for row in head] for head in plan.allowed(10)] == list(read)


def test_a_read_plan_as_blocks():
    plan = BlockPlan.of(ReadPlan((((0, 2), (2, 5), (7, 8)), (), ((3, 4),))), 11, CPU)
    assert (plan.offsets.tolist(), plan.ranges.tolist()) == ([0, 2, 2, 3], [[0, 5], [7, 8], [3, 4]])
    assert (plan.query_blocks, plan.block_q) == (1, 11)


@pytest.mark.parametrize(
    ("offsets", "ranges", "message"),
    [
        ([0, 1], [[0, 4]], "2 heads need a row for each query block, got 1 rows"),
        ([0, 1, 1, 1], [[0, 4]], "got 3 rows"),
        ([0, 1, 2], [[0, 4]], "offsets must rise from 0 to 1"),
        ([0, 2, 1], [[0, 4]], "offsets must rise from 0 to 1"),
        ([0, 0, 1], [[-1, 4]], "must not be negative"),
        ([0, 0, 1], [[0, 4, 5]], r"must have shape \[n, 2\], got \[1, 3\]"),
    ],
)
def test_impossible_block_plans_are_refused(offsets, ranges, message):
    tensors = (torch.tensor(each, dtype=torch.int32) for each in (offsets, ranges))
    with pytest.raises(ValueError, match=message):
        BlockPlan(*tensors, heads=2, block_q=4)


def test_block_plans_that_do_not_fit_the_call_are_refused():
    q, k, v = qkv(1, queries=9)
    plan = BlockPlan(torch.tensor([0, 0, 0], dtype=torch.int32), torch.zeros(0, 2, dtype=torch.int32), 1, 4)
    with pytest.raises(ValueError, match="2 blocks of 4 do not make 9 queries"):
        attend(q, k, v, plan)
    with pytest.raises(ValueError, match="must be int32"):
        BlockPlan(torch.tensor([0, 0]), torch.zeros(0, 2, dtype=torch.int32), 1, 4)
    biased = BlockPlan(plan.offsets, plan.ranges, 1, 5, torch.zeros(1, KEYS - 1))
    with pytest.raises(ValueError, match=f"bias is for {KEYS - 1} keys but there are {KEYS}"):
        attend(q, k, v, biased)
