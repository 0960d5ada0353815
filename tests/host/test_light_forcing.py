"""Light Forcing Patch on the real CausalWanModel: both samplers agree, any order, dense at sparsity 0."""

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.light_forcing import LightForcing
from dummy_forcing.core.methods.window import Window
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.kv_window import ARKVWindow
from dummy_forcing.nodes.patches.light_forcing_patch import CUSTOM, FREE, TUNED, TUNED_LONG, LightForcingPatch
from dummy_forcing.nodes.video.model_info import ARModelInfoNode

EXACT = {"atol": 1e-5, "rtol": 0}
EVERY_PASS = {"dense_first_pass": False, "dense_clean_pass": False}


FRAMES = 12


def sparse(model, sparsity=0.7, **options):
    """Small blocks: the test model has 24 tokens a frame."""
    method = {"preset": CUSTOM, "sparsity": sparsity, **EVERY_PASS, **options}
    return LightForcingPatch.execute(model, method, block_size=12).args[0]


def windowed(model):
    return ARKVWindow.execute(model, 8, 1).args[0]


def forced(model):
    return DummyForcingPatch.execute(model, 0.25, 2).args[0]


def test_the_schema():
    schema = LightForcingPatch.GET_SCHEMA()
    schema.validate()
    inputs = {each.id: each for part in schema.inputs for each in part.get_all()}
    assert {"model", "preset", "sparsity", "keep_frames", "keep_current", "block_size"} < set(inputs)
    assert all(part.tooltip for part in (*inputs.values(), *schema.outputs))
    assert "tuned weights" in inputs["preset"].tooltip  # what the published quality needs


def test_what_the_presets_set(golden_model):
    def chosen(**preset):
        return door.memory_config(LightForcingPatch.execute(golden_model, preset).args[0]).select

    assert chosen(preset=FREE, sparsity=0.5) == LightForcing(0.5)
    assert chosen(preset=TUNED) == LightForcing.tuned()
    assert chosen(preset=TUNED_LONG) == LightForcing.tuned_long()
    assert chosen(preset=CUSTOM, sparsity=0.5, base=0.0, near=1) == LightForcing(0.5, near=1)
    assert chosen(preset=CUSTOM, sparsity=0.5, base=0.8).base == 0.8


@pytest.mark.parametrize("keep", [lambda model: model, windowed, forced])
def test_core_and_our_sampler_agree(golden_model, keep, sample, core_sampler, our_sampler):
    model, options = sparse(keep(golden_model), keep_frames=3), {"frames": FRAMES, "cfg": 3.0, "batch": 2}
    ours = sample(model, our_sampler(), **options)
    torch.testing.assert_close(ours, sample(model, core_sampler(), **options), **EXACT)
    assert not torch.allclose(ours, sample(keep(golden_model), our_sampler(), **options), atol=1e-3)


@pytest.mark.parametrize("keep", [lambda model: model, windowed, forced])
def test_sparsity_0_changes_nothing(golden_model, keep, sample, our_sampler):
    expected = sample(keep(golden_model), our_sampler(), frames=FRAMES)
    assert torch.equal(sample(sparse(keep(golden_model), 0.0), our_sampler(), frames=FRAMES), expected)


@pytest.mark.parametrize("keep", [windowed, forced])
def test_the_order_of_nodes_does_not_matter(golden_model, keep):
    config = door.memory_config(sparse(keep(golden_model)))
    assert config == door.memory_config(keep(sparse(golden_model)))
    assert isinstance(config.keep, Window | DummyForcing) and config.select.sparsity == 0.7
    assert MemoryConfig.from_dict(config.to_dict()) == config


def test_a_later_patch_replaces_an_earlier_one(golden_model):
    assert door.memory_config(sparse(sparse(golden_model, 0.3), 0.5)) == MemoryConfig(
        Dense(), select=LightForcing(0.5, block_q=12, block_k=12, **EVERY_PASS)
    )


def test_bad_values(golden_model):
    with pytest.raises(DummyForcingError, match="raise keep frames to at least 3"):
        sparse(golden_model, keep_frames=2)
    with pytest.raises(DummyForcingError, match=r"base is 0\.5 for a sparsity of 0\.7"):
        sparse(golden_model, base=0.5)


def test_model_info_tells_the_schedule(golden_model):
    info = ARModelInfoNode.PREPARE_CLASS_CLONE(None)  # as the host does, for hidden inputs
    (report,) = info.execute(sparse(golden_model), 96, 64, 81, 3).args
    assert "sparsity per chunk: 0, 0.647, 0.675, 0.692, 0.703, 0.712, 0.718" in report
    (report,) = info.execute(golden_model, 96, 64, 81, 3).args
    assert "sparsity" not in report
