"""The running prompt as a graph: what a node is asked for, whatever the ids."""

from dummy_forcing.nodes.host.prompt_graph import signature


def graph(first="1", model="2", patch="3", name="a", ratio=0.5, slot=0, ends_at=None):
    """A stream behind a patch behind a loader."""
    return {
        first: {"class_type": "Text", "inputs": {"text": "a\ud800"}, "_meta": {"title": first}},
        model: {"class_type": "Load", "inputs": {"model": name}},
        patch: {"class_type": "Patch", "inputs": {"model": [model, slot], "ratio": ratio}},
        "9": {"class_type": "Stream", "inputs": {"model": [ends_at or patch, 0], "positive": [first, 0]}},
    }


def test_equal_graphs_have_one_signature_under_any_ids():
    expected = signature(graph(), "9")
    assert expected == signature(graph("a", "12:b", "12:c"), "9")
    turned = {node: {**each, "inputs": dict(reversed(each["inputs"].items()))} for node, each in graph().items()}
    assert expected == signature(turned, "9")


def test_what_lies_behind_the_links_counts():
    others = graph(name="b"), graph(ratio=0.6), graph(slot=1), graph(ends_at="2"), graph(ends_at="1")
    assert len({signature(each, "9") for each in (graph(), *others)}) == 6


def test_nodes_that_are_not_there_and_loops():
    assert signature(None, "9") is None and signature(graph(), "8") is None and signature(graph(), None) is None
    assert signature({"1": {"class_type": "Loop", "inputs": {"again": ["1", 0]}}}, "1")


def test_many_shared_nodes_are_read_once():
    prompt = {"0": {"class_type": "Start", "inputs": {}}}
    for index in range(1, 200):
        prompt[str(index)] = {"class_type": "Both", "inputs": {"a": [str(index - 1), 0], "b": [str(index - 1), 0]}}
    assert signature(prompt, "199")
