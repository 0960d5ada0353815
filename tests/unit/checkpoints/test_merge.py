import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.checkpoints.lora.lora_merge import Merge, check_mergeable, merge_all
from dummy_forcing.core.checkpoints.lora.lora_names import DOWN, UP

MODULE = "blocks.0.ffn.0"


def pair(rank=2, rows=3, columns=4, seed=0, **more):
    made = torch.Generator().manual_seed(seed)
    parts = {(MODULE, DOWN): torch.randn(rank, columns, generator=made),
             (MODULE, UP): torch.randn(rows, rank, generator=made)}  # fmt: skip
    return Merge(parts | {(MODULE, kind): torch.tensor(value) for kind, value in more.items()})


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_a_pair_is_added(rank, rows, columns):
    merge, weight = pair(rank, rows, columns), torch.ones(rows, columns)
    change = merge.parts[MODULE, UP] @ merge.parts[MODULE, DOWN]
    torch.testing.assert_close(merge.merged(f"{MODULE}.weight", weight), weight + change)


def test_alpha_over_rank_is_the_scale():
    weight = torch.zeros(3, 4)
    full = pair().merged(f"{MODULE}.weight", weight)
    torch.testing.assert_close(pair(alpha=2.0).merged(f"{MODULE}.weight", weight), full)
    torch.testing.assert_close(pair(alpha=1.0).merged(f"{MODULE}.weight", weight), full / 2)


def test_what_it_does_not_touch_is_the_very_tensor():
    weight = torch.ones(3)
    for name in (f"{MODULE}.bias", "blocks.1.ffn.0.weight", "head.modulation"):
        assert pair().merged(name, weight) is weight
    assert merge_all((), f"{MODULE}.weight", weight) is weight


def test_the_type_stays_and_the_sum_is_in_fp32():
    merge, weight = pair(), torch.randn(3, 4).bfloat16()
    exact = weight.float() + merge.parts[MODULE, UP] @ merge.parts[MODULE, DOWN]
    assert torch.equal(merge.merged(f"{MODULE}.weight", weight), exact.bfloat16())


def test_convolutions_differences_and_biases():
    parts = {
        ("patch_embedding", DOWN): torch.ones(2, 4, 1, 2, 2),
        ("patch_embedding", UP): torch.ones(8, 2, 1, 1, 1),
        ("blocks.0.norm3", "diff"): torch.full((5,), 2.0),
        ("blocks.0.modulation", "diff"): torch.full((1, 6, 5), 3.0),
        (MODULE, "diff_b"): torch.full((3,), 4.0),
    }
    merge = Merge(parts)
    assert torch.equal(
        merge.merged("patch_embedding.weight", torch.zeros(8, 4, 1, 2, 2)), torch.full((8, 4, 1, 2, 2), 2.0)
    )
    assert torch.equal(merge.merged("blocks.0.norm3.weight", torch.zeros(5)), parts["blocks.0.norm3", "diff"])
    assert torch.equal(merge.merged("blocks.0.modulation", torch.zeros(1, 6, 5)), torch.full((1, 6, 5), 3.0))
    assert torch.equal(merge.merged(f"{MODULE}.bias", torch.zeros(3)), torch.full((3,), 4.0))
    assert {"patch_embedding.weight", "blocks.0.norm3.weight", "blocks.0.modulation"} <= merge.targets


def test_two_loras_add_up():
    weight = torch.zeros(3, 4)
    one, two = pair(seed=1), pair(seed=2)
    both = merge_all((one, two), f"{MODULE}.weight", weight)
    torch.testing.assert_close(
        both, one.merged(f"{MODULE}.weight", weight) + two.merged(f"{MODULE}.weight", weight)
    )


def test_quantised_weights_cannot_take_one(refused):
    check_mergeable(pair(), ["blocks.1.ffn.0.weight"], "it")
    with refused("the model 'x' has quantised weights", f"'{MODULE}.weight'"):
        check_mergeable(pair(), [f"{MODULE}.weight"], "the model 'x'")


def test_a_merge_keeps_its_sources():
    merge, weight = pair(), torch.ones(3, 4)
    before = [part.clone() for part in merge.parts.values()]
    merge.merged(f"{MODULE}.weight", weight)
    assert torch.equal(weight, torch.ones(3, 4))
    assert all(torch.equal(a, b) for a, b in zip(before, merge.parts.values(), strict=True))
