"""ANN Attention Patch on the real CausalWanModel: both samplers agree, any order, dense where it reads all."""

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.ann import AnnCA, AnnSA
from dummy_forcing.core.methods.plain import AllTokens
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.patches.ann_attention import ANNAttentionPatch
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.kv_window import ARKVWindow

EXACT = {"atol": 1e-5, "rtol": 0}


def searched(model, search="quant", share=0.25, min_history=3, **options):
    """In every pass, from the second chunk on, in small blocks: the test model has 24 tokens a frame."""
    every = {"bits": 3, "block_size": 8, "min_recall": 0.0, "dense_passes": 0, "sparse_clean": True}
    return ANNAttentionPatch.execute(model, search, share, min_history, **{**every, **options}).args[0]


def windowed(model):
    return ARKVWindow.execute(model, 12, 1).args[0]


def forced(model):
    return DummyForcingPatch.execute(model, 0.25, 3).args[0]


def test_the_schema():
    schema = ANNAttentionPatch.GET_SCHEMA()
    schema.validate()
    assert all(part.tooltip for part in (*schema.inputs, *schema.outputs))
    assert {each.id for each in schema.inputs if not each.advanced} == {"model", "search", "share", "min_history"}


def test_what_the_inputs_set(golden_model):
    config = door.memory_config(ANNAttentionPatch.execute(golden_model, "quant", 0.25, 9).args[0])
    assert (config.select, config.cross) == (AnnSA(), AllTokens())
    every = searched(golden_model, "lsh", 0.5, radius=2, min_recall=0.5, cross_attention=True)
    config = door.memory_config(every)
    assert config.select == AnnSA("lsh", 3, 0.5, 2, 8, 3, 0, True, 0.5) and config.cross == AnnCA()
    assert MemoryConfig.from_dict(config.to_dict()) == config
    assert door.memory_config(golden_model) == MemoryConfig()


@pytest.mark.parametrize("keep", [lambda model: model, windowed, forced])
def test_core_and_our_sampler_agree(golden_model, keep, sample, core_sampler, our_sampler):
    model = searched(keep(golden_model), cross_attention=True)
    for options in ({}, {"cfg": 3.0, "batch": 2}):
        ours = sample(model, our_sampler(), **options)
        torch.testing.assert_close(ours, sample(model, core_sampler(), **options), **EXACT)
    assert not torch.allclose(ours, sample(keep(golden_model), our_sampler(), cfg=3.0, batch=2), atol=1e-3)


@pytest.mark.parametrize("keep", [lambda model: model, windowed, forced])
@pytest.mark.parametrize("options", [{"share": 1.0}, {"search": "lsh", "radius": 3}])
def test_reading_every_bucket_changes_nothing(golden_model, keep, options, sample, our_sampler):
    expected = sample(keep(golden_model), our_sampler())
    torch.testing.assert_close(sample(searched(keep(golden_model), **options), our_sampler()), expected, **EXACT)


@pytest.mark.parametrize("keep", [windowed, forced])
def test_the_order_of_nodes_does_not_matter(golden_model, keep):
    assert door.memory_config(searched(keep(golden_model))) == door.memory_config(keep(searched(golden_model)))


def test_a_history_too_short_to_be_searched_is_refused(golden_model, sample, core_sampler, our_sampler):
    """Once the chunks are known: one chunk of local context is 3 latent frames."""
    short = DummyForcingPatch.execute(golden_model, 0.5, 1).args[0]
    for sampler in (our_sampler(), core_sampler()):
        with pytest.raises(DummyForcingError, match=r"hold 3 at most here; .* remove ANN attention"):
            sample(searched(short, "quant", 0.25, min_history=9), sampler)
