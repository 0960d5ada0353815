"""AR KV Quantisation on the real CausalWanModel: under core's sampler and ours, with every other patch."""

import pytest
import torch

from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.kv_quantisation import QuantisedKV
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.kv_quantisation_patch import ARKVQuantisation
from dummy_forcing.nodes.patches.kv_window import ARKVWindow

PATCHES = {
    "dense": lambda model: door.with_memory(model, MemoryConfig()),
    "window": lambda model: ARKVWindow.execute(model, 6, 1).args[0],
    "dummy forcing": lambda model: DummyForcingPatch.execute(model, 0.5, 1).args[0],
}


def quantised(model, kind="int8"):
    return ARKVQuantisation.execute(model, kind).args[0]


def distance(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_both_samplers_agree_and_are_near_to_16_bits(golden_model, patch, sample, core_sampler, our_sampler):
    exact = sample(patch(golden_model), our_sampler())
    int8, fp8 = (sample(quantised(patch(golden_model), kind), our_sampler()) for kind in ("int8", "fp8"))
    assert 0 < distance(int8, exact) < distance(fp8, exact) < 0.2
    by_core = sample(quantised(patch(golden_model)), core_sampler())
    torch.testing.assert_close(by_core, int8, atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch", [PATCHES["window"], PATCHES["dummy forcing"]])
def test_the_order_of_nodes_does_not_matter(golden_model, patch):
    first, last = (
        door.memory_config(patch(quantised(golden_model))),
        door.memory_config(quantised(patch(golden_model))),
    )
    assert first == last and first.merge == QuantisedKV()


def test_the_model_that_came_in_stays_and_a_second_node_replaces_the_first(golden_model):
    model = quantised(golden_model)
    assert door.memory_config(golden_model) == MemoryConfig()
    assert door.memory_config(quantised(model, "fp8")).merge == QuantisedKV("fp8")
    assert door.memory_config(model).merge == QuantisedKV("int8")


def test_comfyui_is_told_of_half_the_memory(golden_model):
    video = door.planned_video(golden_model, (1, 16, 21, 60, 104), 21)
    plain, held = (
        forecast_kv(door.memory_config(model), video).peak_bytes
        for model in (PATCHES["dense"](golden_model), quantised(golden_model))
    )
    width = video.dtype.itemsize  # the golden model has four layers, one of which is there in full
    assert 0.99 < held / plain / (1 / width + 1 / 4) < 1.03
