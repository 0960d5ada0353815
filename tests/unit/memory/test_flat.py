"""Memory is flat: as many bytes after 10,000 commits as when the first heads have their roles."""

import pytest
import torch

from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.memory.clock import ChunkClock
from dummy_forcing.core.memory.config import (
    Absolute,
    DummyForcing,
    MemoryConfig,
    Relative,
    RollingWindow,
    VideoLayout,
    Window,
    build_memory,
)
from dummy_forcing.core.memory.forecast import forecast_kv

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
POLICIES = [
    Window(1, 4),
    Window(1, 4, 0.999),
    RollingWindow(1, 4),
    DummyForcing(roles=((SINK, NEIGHBOR, DUMMY, DUMMY),) * 2),
]
NAMES = ["window", "EMA sink", "rolling window", "dummy forcing"]


def sizes_of(model, config, commits, total):
    """Bytes after every commit."""
    video = VideoLayout(1, 1, 1, total, torch.float32, torch.device("cpu"))
    memory = build_memory(config, model, video)
    token = torch.zeros(1, 1, 4, 12)
    sizes = []
    for frame in range(commits):
        clock = ChunkClock(frame, frame, 1, 1, 0, 0.0, True)
        if frame < 50 or frame % 1000 > 990:  # passes cost more time than commits
            for layer in range(2):
                memory.attend(layer, token, token, token, clock)
        memory.commit(clock)
        sizes.append(memory.status.bytes)
    return sizes


@pytest.mark.parametrize("keep", POLICIES, ids=NAMES)
def test_bytes_are_flat_over_ten_thousand_commits(tiny_wan, keep):
    sizes = sizes_of(tiny_wan, MemoryConfig(keep, Relative()), 10_000, total=None)
    assert len(set(sizes[2:])) == 1


@pytest.mark.parametrize("rope", [Absolute(), Relative(21), Relative()], ids=repr)
@pytest.mark.parametrize("keep", POLICIES, ids=NAMES)
def test_bytes_are_as_forecast(tiny_wan, keep, rope):
    config, total = MemoryConfig(keep, rope), 60
    sizes = sizes_of(tiny_wan, config, total, total)
    found = forecast_kv(config, tiny_wan, VideoLayout(1, 1, 1, total, torch.float32, torch.device("cpu")))
    assert (found.peak_bytes, found.final_bytes) == (max(sizes), sizes[-1])
    assert len(set(sizes[2:])) == 1


def test_bytes_are_those_of_the_tensors(tiny_wan):
    """Counted by hand: keys and values of history and tail, and the copies of opening frames."""
    token = 2 * 4 * 4 * 12  # layers, fp32, heads, head_dim

    def held(keep, rope, total=None):
        video = VideoLayout(1, 1, 1, total, torch.float32, torch.device("cpu"))
        return build_memory(MemoryConfig(keep, rope), tiny_wan, video).status.bytes

    assert held(Window(2, 5), Absolute()) == 2 * 5 * token
    assert held(Window(2, 5), Relative()) == (2 * 5 + 2) * token  # moved: a copy of the keys
    assert held(Window(2, 5, 0.9), Absolute()) == held(Window(2, 5, 0.9), Relative()) == (2 * 5 + 4) * token
    assert held(Window(2, 5), Relative(21), total=21) == 2 * 5 * token  # nothing will ever move
    assert held(Window(2, 5), Relative(21), total=22) == (2 * 5 + 2) * token
