"""Memory configurations: JSON, and what is said about invalid ones."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.base import methods
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.video import VideoShape

CONFIGS = [
    MemoryConfig(),
    MemoryConfig(Dense()),
    MemoryConfig(Window(1, 9)),
    MemoryConfig(Window(3, 9, 0.999), Relative()),
    MemoryConfig(RollingWindow(3, 21), Relative()),
    MemoryConfig(DummyForcing()),
    MemoryConfig(DummyForcing(0.25, None, 0, 2, "paper", 0.1, -3)),
    MemoryConfig(select=LightForcing()),
    MemoryConfig(DummyForcing(0.5, 4), select=LightForcing.tuned_long()),
    MemoryConfig(DummyForcing(roles=((0, 1, 2), (2, 2, 1)), classification_chunk=0)),
    MemoryConfig(DummyForcing(forced_roles=((0, 1, 2), (3, 0, 0)))),
]


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_json_round_trip(config):
    assert MemoryConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(
    st.builds(
        DummyForcing,
        dummy_ratio=st.floats(0, 1),
        local_context=st.none() | st.integers(1, 99),
        packed_frames=st.integers(0, 9),
        classification_chunk=st.integers(1, 9),
        cost=st.sampled_from(["normalised", "paper"]),
        row_fraction=st.floats(0, 1, exclude_min=True),
        seed=st.integers(),
        roles=st.none() | st.just(((0, 1), (2, 0))),
        forced_roles=st.sampled_from([(), ((0, 1, 0),), ((0, 1, 1), (5, 0, 2))]),
    )
)
def test_json_round_trip_of_any_dummy_forcing(keep):
    config = MemoryConfig(keep)
    assert MemoryConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_method_survives_json():
    assert {type(config.keep) for config in CONFIGS} == set(methods("keep").values())
    assert {type(config.rope) for config in CONFIGS} == set(methods("rope").values())


def test_left_out_slots_and_options_have_their_defaults():
    assert MemoryConfig.from_dict({}) == MemoryConfig(Dense())
    assert MemoryConfig.from_dict({"keep": {"method": "window", "size": 20}}) == MemoryConfig(Window(size=20))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"forget": {}}, "unknown memory slots ['forget']; expected keep, rope, merge, select, cross"),
        (
            {"keep": {"method": "magic"}},
            "unknown memory method 'magic'; expected one of dense, dummy_forcing, rolling_window, window",
        ),
        ({"keep": {}}, "unknown memory method None"),
        ({"keep": {"method": ["window"]}}, "unknown memory method ['window']"),
        ({"keep": "dense"}, "'method'"),
        ({"keep": None}, "'method'"),
        (
            {"keep": {"method": "window", "sise": 3}},
            "memory method 'window' has no option ['sise']; it has ['sink', 'sink_average', 'size']",
        ),
        ({"keep": {"method": "window", "size": "many"}}, "Window: size is 'many'; expected 1 or more"),
        ({"keep": {"method": "dummy_forcing", "roles": [1, 2]}}, "head roles are (1, 2)"),
        ({"keep": {"method": "dummy_forcing", "forced_roles": [[0, 0, 9]]}}, "forced roles are ((0, 0, 9),)"),
        ({"keep": {"method": "dummy_forcing", "forced_roles": "0:0=sink"}}, "forced roles are"),
        ({"keep": {"method": "dummy_forcing", "forced_roles": 3}}, "forced roles are 3"),
        ({"keep": {"method": "window", "size": 0}}, "Window: size is 0; expected 1 or more latent frames"),
    ],
)
def test_invalid_json_is_one_clear_line(values, message):
    with pytest.raises(DummyForcingError) as error:
        MemoryConfig.from_dict(values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dummy_ratio": -0.1}, "dummy ratio is -0.1; expected a number from 0 to 1"),
        ({"dummy_ratio": 1.5}, "dummy ratio is 1.5"),
        ({"dummy_ratio": float("nan")}, "dummy ratio is nan"),
        ({"local_context": 0}, "local context is 0; expected 1 or more chunks or 'all'"),
        ({"packed_frames": -1}, "packed frames is -1; expected 0 or more"),
        ({"classification_chunk": 0}, "classification chunk is 0; expected at least 1"),
        ({"classification_chunk": -1, "roles": ((0,),)}, "classification chunk is -1; expected 0 or more"),
        ({"cost": "free"}, "cost is 'free'; expected 'normalised' or 'paper'"),
        ({"row_fraction": 0.0}, "row fraction is 0.0; expected a share above 0 up to 1"),
        ({"row_fraction": 1.1}, "row fraction is 1.1"),
    ],
)
def test_invalid_dummy_forcing_options(options, message):
    with pytest.raises(DummyForcingError) as error:
        DummyForcing(**options)
    assert message in str(error.value)


@pytest.mark.parametrize("options", [{"sink": -1}, {"size": 0}, {"size": -5}])
def test_invalid_window_options(options):
    with pytest.raises(DummyForcingError, match=r"(sink|size) is .*; expected [01] or more latent frames"):
        Window(**options)


def test_a_window_must_hold_its_sink_and_one_chunk():
    shape = VideoShape(layers=1, heads=1, chunk_frames=3)
    Window(sink=3, size=6).begin(shape)
    with pytest.raises(DummyForcingError, match="use a size of at least 6"):
        Window(sink=3, size=5).begin(shape)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (((0, 1),), "1 x 2 roles but the model has 2 layers x 2 heads"),
        (((0, 1), (1, 1), (0, 0)), "3 x 2 roles but the model has"),
        ((), "but the model has 2 layers x 2 heads"),
        (((0, 1), (1,)), "roles"),
        (((0, 1), (1, 3)), "roles"),
        (((0, 1), (1, -1)), "roles"),
    ],
)
def test_roles_must_fit_the_model(roles, message):
    with pytest.raises(DummyForcingError) as error:
        DummyForcing(roles=roles).begin(VideoShape(layers=2, heads=2, chunk_frames=3))
    assert message in str(error.value)


@pytest.mark.parametrize("roles", [None, ((0, 1), (1, 1))])
def test_forced_heads_must_be_the_models(roles):
    keep = DummyForcing(roles=roles, forced_roles=((0, 1, 2), (2, 0, 0)))
    for use in (keep.begin, keep.upper_bound if roles is None else keep.begin):
        with pytest.raises(DummyForcingError, match=r"head 2:0, but the model has 2 layers x 2 heads.*correct"):
            use(VideoShape(layers=2, heads=2, chunk_frames=3))


def test_forced_heads_have_their_role_among_given_ones():
    run = DummyForcing(roles=((0, 1), (1, 1)), forced_roles=((1, 0, 2),)).begin(VideoShape(2, 2, 3))
    run.after_commit(ChunkClock(1, 3, 3, 1, 0, 0.0, True))
    assert run.roles.tolist() == [[0, 1], [2, 1]]


@given(
    st.floats(0, 1),
    st.dictionaries(st.tuples(st.integers(0, 1), st.integers(0, 3)), st.integers(0, 2)),
    st.integers(0, 99),
)
def test_the_upper_bound_holds_as_many_frames_as_any(ratio, forced, seed):
    """Sink, neighbor and dummy heads hold 1, 3 and 1 frames of history."""
    shape = VideoShape(2, 4, 3)
    keep = DummyForcing(ratio, forced_roles=tuple((*place, role) for place, role in sorted(forced.items())))
    masses = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(seed))
    roles = program_heads(masses, ratio, forced=keep.forced_roles)
    most = torch.tensor(keep.upper_bound(shape).roles)
    assert (most == 1).sum() >= (roles == 1).sum()
    assert (most == 2).sum() == (roles == 2).sum()
    assert all(most[place] == role for place, role in forced.items())
