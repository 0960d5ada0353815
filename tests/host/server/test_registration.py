"""What a server with the pack in it offers before anything runs."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = "dummy-forcing"
FILES = {
    ("DummyForcingLoadModel", "model"),
    ("DummyForcingLoadModel", "lora"),
    ("DummyForcingLoadHeadProfile", "name"),
}


def test_import_succeeds(server):
    assert "IMPORT FAILED" not in server.log
    assert "Cannot import" not in server.log


def test_every_node_is_there(server, node_classes):
    assert node_classes
    assert node_classes.keys() <= server.get("/object_info").keys()


def test_ids_and_category(server, node_classes):
    info = server.get("/object_info")
    assert [name for name in node_classes if not name.startswith("DummyForcing")] == []
    assert [name for name in node_classes if not info[name]["category"].startswith("video/dummy forcing")] == []


def test_every_input_and_output_has_a_tooltip(server, node_classes):
    info = server.get("/object_info")
    assert [place for name in node_classes for place in without_tooltip(name, info[name])] == []


def test_every_node_has_a_description(server, node_classes):
    info = server.get("/object_info")
    assert [name for name in node_classes if not info[name]["description"]] == []


def test_templates_are_the_workflows(server):
    workflows = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    assert sorted(server.get("/workflow_templates").get(FOLDER, [])) == workflows


def test_templates_are_served(server):
    for path in (ROOT / "workflows").glob("*.json"):
        assert server.get_bytes(f"/api/workflow_templates/{FOLDER}/{path.name}") == path.read_bytes()


def without_tooltip(name: str, node: dict) -> list[str]:
    """Inputs, also those inside of a dynamic combo, and outputs of a node that have no tooltip."""
    found = []
    for group in ("required", "optional"):
        found += inputs_without_tooltip(name, node["input"].get(group, {}))
    tips = node["output_tooltips"] or [None] * len(node["output"])
    outputs = zip(node["output_name"], tips, strict=True)
    return found + [f"{name}: output {label}" for label, tip in outputs if not tip]


def inputs_without_tooltip(place: str, inputs: dict) -> list[str]:
    found = []
    for key, (_, *rest) in inputs.items():
        options = rest[0] if rest else {}
        found += [] if options.get("tooltip") else [f"{place}: input {key}"]
        for choice in options.get("options") or []:
            for group in choice.get("inputs", {}).values() if isinstance(choice, dict) else ():
                found += inputs_without_tooltip(f"{place}: {key}={choice.get('key')}", group)
    return found


def test_what_saved_workflows_rely_on_is_as_it_was(server):
    """Ids, inputs with their order, ranges and words, outputs: as in tests/data, lists of files aside."""
    expected = json.loads((ROOT / "tests" / "data" / "object_info.json").read_text("utf-8"))
    found = server.get("/object_info")
    for name, node in expected.items():
        without_files(name, node)
        without_files(name, found[name])
        assert {key: found[name].get(key) for key in node} == node
        assert {group: list(inputs) for group, inputs in found[name]["input"].items()} == {
            group: list(inputs) for group, inputs in node["input"].items()
        }


def without_files(name: str, node: dict) -> None:
    """Choices that depend on what lies in the folders of models."""
    for inputs in node["input"].values():
        for key, (_, *rest) in inputs.items():
            if (name, key) in FILES:
                rest[0].pop("options")
