"""TempCache Patch on the real CausalWanModel: under core's sampler and ours, with other patches."""

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.kv_forecast import forecast_kv
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.temp_cache import TempCache
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.kv_window import ARKVWindow
from dummy_forcing.nodes.patches.temp_cache_patch import TempCachePatch

PATCHES = {
    "dense": lambda model: door.with_memory(model, MemoryConfig()),
    "window": lambda model: ARKVWindow.execute(model, 9, 1).args[0],
    "dummy forcing": lambda model: DummyForcingPatch.execute(model, 0.5, 2).args[0],
}


def merged(model, similarity=0.9, budget=21, **options):
    return TempCachePatch.execute(model, similarity, budget, **options).args[0]


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_a_similarity_of_one_is_the_patch_alone(golden_model, patch, sample, our_sampler):
    exact = sample(patch(golden_model), our_sampler())
    found = sample(merged(patch(golden_model), 1.0), our_sampler())
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("place", ["same", "neighbourhood", "nearest"])
def test_both_samplers_agree(golden_model, sample, core_sampler, our_sampler, place):
    model = merged(golden_model, 0.5, 6, correspondence=place)
    ours = sample(model, our_sampler())
    assert torch.isfinite(ours).all()
    torch.testing.assert_close(sample(model, core_sampler()), ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch", [PATCHES["window"], PATCHES["dummy forcing"]])
def test_the_order_of_nodes_does_not_matter(golden_model, patch):
    first, last = (
        door.memory_config(patch(merged(golden_model))),
        door.memory_config(merged(patch(golden_model))),
    )
    assert first == last and first.merge == TempCache()


def test_a_short_local_context_says_what_to_do(golden_model):
    with pytest.raises(DummyForcingError, match="local context of 2 chunks or more, or remove TempCache"):
        DummyForcingPatch.execute(merged(golden_model), 0.5, 1)


def test_comfyui_is_told_of_the_budget(golden_model):
    video = door.planned_video(golden_model, (1, 16, 201, 60, 104), 201)
    plain, held = (
        forecast_kv(door.memory_config(model), video).peak_bytes
        for model in (PATCHES["dense"](golden_model), merged(golden_model, budget=21))
    )
    assert 21 / 201 < held / plain < 30 / 201
