"""Memory is flat: as many bytes after 10,000 commits as when the first heads have their roles."""

import pytest
import torch

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Absolute, Relative
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.video import VideoShape

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
POLICIES = [
    Window(1, 4),
    Window(1, 4, 0.999),
    RollingWindow(1, 4),
    DummyForcing(roles=((SINK, NEIGHBOR, DUMMY, DUMMY),) * 2),
]
NAMES = ["window", "EMA sink", "rolling window", "dummy forcing"]


def shape(total):
    return VideoShape(layers=2, heads=4, chunk_frames=1, total_frames=total, head_dim=12)


def sizes_of(config, commits, total):
    """Bytes after every commit."""
    memory = config.begin(shape(total))
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
def test_bytes_are_flat_over_ten_thousand_commits(keep):
    sizes = sizes_of(MemoryConfig(keep, Relative()), 10_000, total=None)
    assert len(set(sizes[2:])) == 1


@pytest.mark.parametrize("rope", [Absolute(), Relative(21), Relative()], ids=repr)
@pytest.mark.parametrize("keep", POLICIES, ids=NAMES)
def test_bytes_are_as_forecast(keep, rope):
    config, total = MemoryConfig(keep, rope), 60
    sizes = sizes_of(config, total, total)
    found = forecast_kv(config, shape(total))
    assert (found.peak_bytes, found.final_bytes) == (max(sizes), sizes[-1])
    assert len(set(sizes[2:])) == 1


def test_bytes_are_those_of_the_tensors():
    """Counted by hand: keys and values of history and tail, and the copies of opening frames."""
    token = 2 * 4 * 4 * 12  # layers, fp32, heads, head_dim

    def held(keep, rope, total=None):
        return MemoryConfig(keep, rope).begin(shape(total)).status.bytes

    assert held(Window(2, 5), Absolute()) == 2 * 5 * token
    assert held(Window(2, 5), Relative()) == (2 * 5 + 2) * token  # moved: a copy of the keys
    assert held(Window(2, 5, 0.9), Absolute()) == held(Window(2, 5, 0.9), Relative()) == (2 * 5 + 4) * token
    assert held(Window(2, 5), Relative(21), total=21) == 2 * 5 * token  # nothing will ever move
    assert held(Window(2, 5), Relative(21), total=22) == (2 * 5 + 2) * token
