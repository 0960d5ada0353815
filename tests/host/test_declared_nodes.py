"""A method that has no node of its own gets one from its declaration: that of docs/adding_a_method.md."""

import pytest
import torch
from worked_example import example_method

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.extension import node_classes


def test_no_two_nodes_have_one_id():
    ids = [node.define_schema().node_id for node in node_classes()]
    assert len(set(ids)) == len(ids) >= 19


@pytest.fixture
def example(tmp_path):
    """The method and its node."""
    with example_method(tmp_path, "dummy_forcing") as module:
        (node,) = (each for each in node_classes() if each.define_schema().node_id == "DummyForcingLayerWindow")
        yield module.LayerWindow, node


def test_its_inputs_are_its_options(example):
    schema = example[1].define_schema()
    assert schema.display_name == "Layer Window Patch"
    found = {each.id: each for each in schema.inputs}
    assert list(found) == ["model", "narrow", "wide", "sink", "positions"]
    assert (found["narrow"].default, found["narrow"].min, found["narrow"].max) == (3, 0, 4096)
    assert found["sink"].advanced and found["sink"].optional and not found["wide"].advanced


def test_it_sets_the_method_and_streams(example, golden_model, sample, core_sampler, our_sampler):
    method, node = example
    patched = node.execute(golden_model, narrow=2, wide=6).args[0]
    assert door.memory_config(patched).keep == method(narrow=2, wide=6)
    assert door.memory_config(golden_model).keep == Dense()
    torch.testing.assert_close(sample(patched, our_sampler()), sample(patched, core_sampler()), atol=1e-5, rtol=0)


def test_it_says_what_is_wrong(example, golden_model):
    with pytest.raises(DummyForcingError, match="no narrower than the narrow one"):
        example[1].execute(golden_model, narrow=9, wide=3)
