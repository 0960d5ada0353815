"""The runs of the Dummy Forcing authors' code (docs/references.md, "The golden runs") must come out of ours."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.heads.recorder import MassRecorder
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.base import KeepMethod
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, HeadsClassified
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape

DATA = Path(__file__).resolve().parents[2] / "data"
TOLERANCE = 1e-4
CHUNK = 3
CLEAN_PASS = 4
FRAME_BYTES = 2 * 4 * 4 * (4 * 6) * 128  # keys and values, fp32, 4 layers, tokens, width


@pytest.fixture(scope="module")
def model():
    path = DATA / "weights.safetensors"
    with safe_open(path, "pt") as file:
        heads = json.loads(file.metadata()["config"])["num_heads"]
    weights = load_file(path)
    backbone = CausalWan(WanShape.from_state_dict(weights, heads)).requires_grad_(False)
    backbone.load_state_dict(weights)
    return backbone


@pytest.fixture(scope="module")
def dense():
    return load_file(DATA / "dense.safetensors")


@pytest.fixture(scope="module")
def half_dummy():
    return load_file(DATA / "dummy_forcing_50.safetensors")


class GoldenNoise:
    """The noise that the authors' code drew."""

    def __init__(self, golden):
        self.golden = golden

    def draw(self, chunk, pass_index, shape):
        if pass_index:
            return self.golden["fresh_noise"][chunk, pass_index - 1]
        return self.golden["noise"][:, :, CHUNK * chunk : CHUNK * (chunk + 1)]


class WithGoldenRows(KeepMethod):
    """A keep method: online classification that scores the very queries that the authors' code drew."""

    def __init__(self, config, rows):
        self.config, self.rows = config, rows

    def begin(self, shape):
        run = self.config.begin(shape)
        (sampling,) = run.observers
        run._recorder = MassRecorder(
            shape.layers, row_fraction=1.0, seed=0, wants=sampling.wants, rows=list(self.rows)
        )
        run.observers = (run._recorder,)
        return run


def run(model, golden, keep, observers=()):
    config = StreamConfig(
        tuple(golden["sigmas"].tolist()),
        CHUNK,
        golden["latents"].shape[2],
        tuple(golden["latents"].shape[-2:]),
        memory=MemoryConfig(keep),
    )
    return list(stream_video(model, golden["context"], config, GoldenNoise(golden), observers))


def deviation(events, golden):
    latents = torch.cat([event.latents for event in events if isinstance(event, ChunkDone)], dim=2)
    assert latents.shape == golden["latents"].shape
    return (latents - golden["latents"]).abs().max().item()


def kv_frames(events):
    return [event.kv_bytes / FRAME_BYTES for event in events if isinstance(event, ChunkDone)]


def golden_roles(golden):
    return tuple(map(tuple, golden["head_roles"].tolist()))


def golden_recorder(golden):
    wants = lambda clock: clock.clean and clock.chunk == 1  # noqa: E731
    return MassRecorder(4, row_fraction=1.0, seed=0, wants=wants, rows=list(golden["rows"]))


@pytest.mark.parametrize(
    "keep", [Dense(), DummyForcing(dummy_ratio=0, local_context=None)], ids=["dense", "no dummies, no window"]
)
def test_dense_run(model, dense, keep):
    events = run(model, dense, keep)
    assert deviation(events, dense) <= TOLERANCE
    assert kv_frames(events)[1:] == [21] * 6


def test_dummy_forcing_run_with_the_golden_roles(model, half_dummy):
    events = run(model, half_dummy, DummyForcing(roles=golden_roles(half_dummy)))
    assert deviation(events, half_dummy) <= TOLERANCE
    (classified,) = [event for event in events if isinstance(event, HeadsClassified)]
    assert torch.equal(classified.roles, half_dummy["head_roles"])
    assert classified.masses is None
    assert kv_frames(events)[0] == 6
    assert len(set(kv_frames(events)[1:])) == 1


def test_dummy_forcing_run_classified_online_by_the_golden_rows(model, half_dummy):
    events = run(model, half_dummy, WithGoldenRows(DummyForcing(0.5), half_dummy["rows"]))
    (classified,) = [event for event in events if isinstance(event, HeadsClassified)]
    torch.testing.assert_close(classified.masses, half_dummy["scores"], atol=TOLERANCE, rtol=0)
    assert torch.equal(classified.roles, half_dummy["head_roles"])
    assert deviation(events, half_dummy) <= TOLERANCE


def test_the_two_goldens_are_different_videos(dense, half_dummy):
    """Otherwise the equalities above would say nothing about which heads were cut."""
    assert torch.equal(dense["noise"], half_dummy["noise"])
    assert (dense["latents"] - half_dummy["latents"]).abs().max() > 100 * TOLERANCE


def test_a_recorder_under_dense_gives_the_golden_scores_and_roles(model, half_dummy):
    recorder = golden_recorder(half_dummy)
    run(model, half_dummy, Dense(), (recorder,))
    assert recorder.recorded == [(1, CLEAN_PASS)]
    masses = recorder.masses(1, CLEAN_PASS)[0]
    torch.testing.assert_close(masses, half_dummy["scores"], atol=TOLERANCE, rtol=0)
    assert torch.equal(program_heads(masses, 0.5), half_dummy["head_roles"])


def test_programming_of_the_golden_scores_gives_the_golden_roles(half_dummy):
    assert torch.equal(program_heads(half_dummy["scores"], 0.5), half_dummy["head_roles"])
