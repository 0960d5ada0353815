from dataclasses import dataclass

import pytest
import torch

from dummy_forcing.core.heads.head_scores import attention_mass, sample_rows
from dummy_forcing.core.heads.recorder import MassRecorder


@dataclass(frozen=True)
class Clock:
    chunk: int
    pass_index: int
    memory_frame: int
    frames: int = 2
    clean: bool = False


FRAMES = range(4)
CLEAN = Clock(1, 4, 2, clean=True)


def layer_qk(layer):
    generator = torch.Generator().manual_seed(layer)
    return torch.randn(2, 10, 3, 8, generator=generator), torch.randn(2, 20, 3, 8, generator=generator)


def record(recorder, clock, layers=2):
    for layer in range(layers):
        if recorder.wants(clock):
            recorder.observe(layer, *layer_qk(layer), FRAMES, clock)


def test_masses_are_those_of_the_sampled_rows():
    recorder = MassRecorder(2, row_fraction=0.4, seed=5, wants=lambda clock: True)
    record(recorder, CLEAN)
    masses = recorder.masses(1, 4)
    assert masses.shape == (2, 2, 3, 3)
    for layer in range(2):
        rows = sample_rows(10, 0.4, seed=5, layer=layer)
        assert masses[:, layer].equal(attention_mass(*layer_qk(layer), FRAMES, 2, rows))


def test_given_rows_override_sampling():
    rows = [torch.tensor([3, 1]), torch.tensor([9])]
    recorder = MassRecorder(2, row_fraction=0.4, seed=5, wants=lambda clock: True, rows=rows)
    record(recorder, CLEAN)
    for layer in range(2):
        expected = attention_mass(*layer_qk(layer), FRAMES, 2, rows[layer])
        assert recorder.masses(1, 4)[:, layer].equal(expected)


def test_only_wanted_passes_are_recorded():
    recorder = MassRecorder(2, row_fraction=1.0, seed=0, wants=lambda clock: clock.clean)
    for index in range(5):
        record(recorder, Clock(1, index, 2, clean=index == 4))
    assert recorder.recorded == [(1, 4)]


def test_a_missing_layer_is_an_error():
    recorder = MassRecorder(3, row_fraction=1.0, seed=0, wants=lambda clock: True)
    record(recorder, CLEAN, layers=2)
    with pytest.raises(RuntimeError, match=r"layers \[2\]"):
        recorder.masses(1, 4)
    with pytest.raises(RuntimeError, match="chunk 0, pass 0"):
        recorder.masses(0, 0)


def test_a_second_run_replaces_the_first():
    recorder = MassRecorder(1, row_fraction=1.0, seed=0, wants=lambda clock: True)
    recorder.observe(0, *layer_qk(7), FRAMES, CLEAN)
    record(recorder, CLEAN, layers=1)
    assert recorder.masses(1, 4)[:, 0].equal(attention_mass(*layer_qk(0), FRAMES, 2, torch.arange(10)))


def test_clear_forgets():
    recorder = MassRecorder(2, row_fraction=1.0, seed=0, wants=lambda clock: True)
    record(recorder, CLEAN)
    recorder.clear()
    assert recorder.recorded == []


def test_rows_must_cover_the_layers():
    with pytest.raises(ValueError, match="expected 2"):
        MassRecorder(2, row_fraction=1.0, seed=0, wants=lambda clock: True, rows=[torch.tensor([0])])
