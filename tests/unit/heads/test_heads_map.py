"""The head map: what it tells a browser, and that the browser's arithmetic is what a memory holds and reads."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.bench.costs import key_frames
from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.head_map import MOST_HEADS, HeadMap, MapCosts
from dummy_forcing.core.heads.profile import HeadProfile
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.cost import pass_cost
from dummy_forcing.core.wan.shape import WAN_1_3B, WanShape

SHAPE = WanShape(dim=48, heads=4, layers=3, ffn_dim=64)
TOKENS, CHUNK, LATENTS = 2, 3, 21
VIDEO = VideoShape(3, 4, CHUNK, LATENTS, grid=(1, TOKENS), head_dim=4)
SINK, NEIGHBOR, DUMMY = range(3)

tables = st.lists(st.tuples(*4 * [st.integers(0, 2)]), min_size=3, max_size=3).map(tuple)
memories = st.builds(
    DummyForcing,
    local_context=st.none() | st.integers(1, 5),
    packed_frames=st.integers(0, 4),
    roles=tables,
)


def head_key_frames(role, settings, costs):
    """Latent frames that a head reads and holds, as web/PROTOCOL.md says and web/heads/costs.js does."""
    chunk, chunks, history = costs.chunk_frames, settings.local_context, costs.latent_frames - costs.chunk_frames
    if role == DUMMY:
        return chunk + min(settings.packed_frames, history)
    if chunks is None:
        return chunk + history
    return chunk + (min(1, history) if role == SINK else min(chunks * chunk, history - 1))


def mean_key_frames(keep, costs):
    heads = [role for row in keep.roles for role in row]
    return sum(head_key_frames(role, keep, costs) for role in heads) / len(heads)


@pytest.mark.parametrize("key_frames_read", [0, 3, 4.5, 21])
def test_the_two_numbers_are_the_cost_of_a_pass(key_frames_read):
    costs = MapCosts.of(WAN_1_3B, 1560, CHUNK)
    expected = pass_cost(WAN_1_3B, CHUNK * 1560, 512, key_frames_read * 1560).total
    assert costs.fixed_flops + costs.flops_per_key_frame * key_frames_read == pytest.approx(expected, rel=1e-12)


@given(memories)
def test_key_frames_are_those_that_the_heads_read(keep):
    costs = MapCosts.of(SHAPE, TOKENS, CHUNK)
    last = ChunkClock(LATENTS // CHUNK - 1, LATENTS - CHUNK, CHUNK, TOKENS, 0, 1.0, False)
    assert mean_key_frames(keep, costs) == pytest.approx(key_frames(MemoryConfig(keep), VIDEO, last))


@settings(max_examples=30)
@given(memories)
def test_kv_is_what_the_stores_hold(keep):
    """Bytes that a memory has allocated while the last chunk is made, against dense."""
    shares = mean_key_frames(keep, MapCosts.of(SHAPE, TOKENS, CHUNK)) / LATENTS
    assert held_bytes(keep) / held_bytes(Dense()) == pytest.approx(shares)


def held_bytes(keep):
    memory = MemoryConfig(keep).begin(VIDEO)
    for start in range(0, LATENTS - CHUNK, CHUNK):
        kv = torch.zeros(1, CHUNK * TOKENS, 4, 4)
        clock = ChunkClock(start // CHUNK, start, CHUNK, TOKENS, 0, 0.0, True)
        for layer in range(3):
            memory.attend(layer, kv, kv, kv, clock)
        memory.commit(clock)
    return memory.status.bytes


def test_lengths_are_cut_to_whole_chunks():
    assert [MapCosts.of(SHAPE, TOKENS, 4, frames).latent_frames for frames in (21, 20, 3)] == [20, 20, 4]


def make(masses=None, settings=None, **changes):
    masses = torch.tensor([[[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]]]) if masses is None else masses
    facts = {
        "origin": "measured",
        "name": "",
        "masses": masses,
        "roles": torch.zeros(masses.shape[:2], dtype=torch.int64),
        "settings": settings or DummyForcing(),
        "costs": MapCosts.of(SHAPE, TOKENS, CHUNK),
    }
    return HeadMap(**(facts | changes))


def test_what_a_browser_gets():
    keep = DummyForcing(0.25, None, 2, cost="paper", forced_roles=((0, 1, DUMMY), (1, 0, SINK)))
    found = make(settings=keep, inherited=((1, 0, SINK),), name="  a red\ncircle  " + 200 * "x").to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["masses"] == [[[0.1, 0.2, 0.7], [0.333333, 0.333333, 0.333333]]]
    assert found["roles"] == [[0, 0]]
    assert found["settings"] == {
        "dummy_ratio": 0.25,
        "cost": "paper",
        "forced_roles": "0:1=dummy, 1:0=sink",
        "inherited_roles": "1:0=sink",
        "local_context": None,
        "packed_frames": 2,
    }
    assert found["costs"].keys() == {"chunk_frames", "latent_frames", "fixed_flops", "flops_per_key_frame"}
    assert found["name"].startswith("a red circle xx") and len(found["name"]) == 120


def test_what_cannot_be_drawn():
    with pytest.raises(DummyForcingError, match="not finite"):
        make(torch.tensor([[[0.1, float("nan"), 0.7]]]))
    with pytest.raises(DummyForcingError, match="too many"):
        make(torch.zeros(1, MOST_HEADS + 1, 3))


def profile(**changes):
    facts = {
        "fingerprint": "0",
        "shape": SHAPE.to_dict(),
        "prompts": (),
        "seeds": (),
        "latent_size": (4, 6),
        "method": {"chunk_frames": 1, "text_tokens": 7},
        "masses": torch.zeros(3, 4, 3),
        "roles": torch.zeros(3, 4, dtype=torch.int64),
    }
    return HeadProfile(**(facts | changes))


def test_costs_of_a_profile_are_those_of_its_model():
    assert MapCosts.of_profile(profile(), 15) == MapCosts.of(SHAPE, 6, 1, 15, 7)
    assert MapCosts.of_profile(profile(method={})) == MapCosts.of(SHAPE, 6, 3, 21, 512), "an older file"


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": {}},
        {"shape": {"dim": 48}},
        {"shape": SHAPE.to_dict() | {"ffn_dim": "x"}},
        {"shape": SHAPE.to_dict() | {"ffn_dim": float("nan")}},
        {"shape": SHAPE.to_dict() | {"ffn_dim": 2**40}},
        {"shape": SHAPE.to_dict() | {"layers": 4}},
        {"shape": SHAPE.to_dict() | {"colour": 4}},
        {"latent_size": (0, 6)},
        {"latent_size": (-4, 6)},
        {"method": {"chunk_frames": 0}},
        {"method": {"text_tokens": [1]}},
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(changes):
    with pytest.raises(DummyForcingError, match=r"damaged|unknown model sizes") as error:
        MapCosts.of_profile(profile(**changes))
    assert "\n" not in str(error.value)
