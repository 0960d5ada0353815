"""Operations counted by hand, and key frames as the policies define them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.bench.costs import key_frames, with_classification
from dummy_forcing.core.bench.typed_memories import parse_policy, with_roles
from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.cost import pass_cost
from dummy_forcing.core.wan.shape import WAN_1_3B, WanShape

FRAME = 1560  # tokens of 480 x 832
CHUNK = 3 * FRAME


@pytest.mark.parametrize(("frames", "tera"), [(21, 28.3), (12, 16.15), (6, 8.1), (4.5, 6.1)])
def test_a_pass_of_wan_1_3b_at_480p(frames, tera):
    """The figures of docs/references.md, "What a pass costs"."""
    cost = pass_cost(WAN_1_3B, CHUNK, 512, frames * FRAME)
    assert cost.linears / 1e12 == pytest.approx(11.7, abs=0.05)
    assert cost.cross_attention / 1e12 == pytest.approx(0.44, abs=0.005)
    assert cost.self_attention / 1e12 == pytest.approx(tera, abs=0.05)


def test_a_pass_counted_by_hand():
    """Two tokens, one key, width 4: every multiply-add of every matrix."""
    shape = WanShape(dim=4, heads=1, layers=1, ffn_dim=8, in_channels=1, out_channels=1)
    cost = pass_cost(shape, tokens=2, text_tokens=3, keys=1)
    embedding_and_head = 2 * (4 * 4) + 2 * (4 * 4)  # 2 tokens, 4 pixels a patch, width 4; twice
    projections, feed_forward = 2 * 6 * (4 * 4), 2 * 2 * (4 * 8)
    assert cost.linears == 2 * (embedding_and_head + projections + feed_forward)
    assert cost.self_attention == 2 * (2 * 1 * 4 + 2 * 1 * 4)  # scores, then weighted values
    assert cost.cross_attention == 3 * cost.self_attention
    assert cost.total == cost.linears + cost.cross_attention + cost.self_attention


@pytest.mark.parametrize(
    ("policy", "by_chunk"),
    [
        ("dense", [3, 6, 9, 12, 15, 18, 21]),
        ("window:12:3", [3, 6, 9, 12, 12, 12, 12]),
        ("window:6:0", [3, 6, 6, 6, 6, 6, 6]),
        ("dummy-forcing:0.5", [3, 6, 4.5, 4.5, 4.5, 4.5, 4.5]),  # sink and dummy 4, neighbor 6
        (
            "dummy-forcing:0.5:2",
            [3, 6, 5, 5.25, 5.25, 5.25, 5.25],
        ),  # neighbor 8, later 9
        ("dummy-forcing:1", [3, 6, 4, 4, 4, 4, 4]),
        ("dense+light-forcing:0", [3, 6, 9, 12, 15, 18, 21]),
        # floor(0.35), floor(0.32), ... of 6, 9, ... blocks, a token a frame
        ("dense+light-forcing:0.7:tuned-weights", [3, 2, 2, 3, 4, 5, 5]),
        # neighbor heads of 6 frames read all; a quarter of the heads, half sink and dummy
        ("dummy-forcing:0.5+light-forcing", [3, 2, 4.5, 4.5, 4.5, 4.5, 4.5]),
    ],
)
def test_key_frames_by_chunk(policy, by_chunk):
    memory = with_roles(parse_policy(policy), layers=2, heads=12, seed=0)
    found = [key_frames(memory, video(2, 12), clock(chunk)) for chunk in range(7)]
    assert found == pytest.approx(by_chunk)


def video(layers, heads, chunk_frames=3):
    return VideoShape(layers, heads, chunk_frames, 21, head_dim=2)


def clock(chunk, frames=3, *, index=1, clean=False):
    return ChunkClock(chunk, frames * chunk, frames, 1, index, 0.0, clean)


def test_passes_that_read_everything_are_counted_so():
    memory = parse_policy("dense+light-forcing:0.7")
    passes = [clock(6, index=index, clean=index == 2) for index in range(3)]
    assert [key_frames(memory, video(1, 1), each) for each in passes] == pytest.approx([21, 5, 21])


@given(st.sampled_from(["dense", "window:9:2", "dummy-forcing:0.25", "rolling-window:12:1"]), st.integers(0, 6))
def test_key_frames_are_the_keys_that_the_memory_reads(policy, chunk):
    """Counted in the plan that attention executes."""
    given_roles = with_roles(parse_policy(policy), layers=1, heads=4, seed=1)
    read = []

    def count(q, k, v):
        read.append(k.shape[1] * k.shape[2])
        return q

    memory = given_roles.begin(video(1, 4))
    kv = torch.zeros(1, 3, 4, 2)
    for index in range(chunk + 1):
        read.clear()
        memory.attend(0, kv, kv, kv, clock(index, clean=True), dense=count)
        memory.commit(clock(index, clean=True))
    assert sum(read) == 4 * key_frames(given_roles, video(1, 4), clock(chunk, clean=True))


def test_classified_roles_take_effect_when_they_did():
    online = parse_policy("dummy-forcing:0.5")
    shape = VideoShape(1, 2, 1)  # chunks of one frame: the chunk that is scored is the third
    ran = with_classification(online, ((0, 2),), shape)
    found = [key_frames(ran, video(1, 2, 1), clock(chunk, frames=1)) for chunk in range(5)]
    assert found == [1, 2, 3, 2, 2]
