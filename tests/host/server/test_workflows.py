"""Each workflow of `workflows/` as it lies there: nodes, widget values, links, picture and API twin."""

from __future__ import annotations

import io
import json
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "workflows"
PATHS = sorted(FOLDER.glob("*.json"))

NOTES = {"MarkdownNote", "Note"}  # the frontend's own: no server knows them
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
EXTRA_WIDGETS = {"PreviewAny": 3}  # that the frontend adds behind those of the schema
ALWAYS, NEVER = 0, 2  # modes of nodes: a muted one stays out of the prompt
TITLE_HEIGHT = 30

# What combos cannot offer before a person has downloaded or saved it.
DOWNLOADS = {
    "self_forcing_dmd.pt",
    "causal_forcing-framewise.safetensors",
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    "wan_2.1_vae.safetensors",
}
SAVED_BY_A_RUN = {"toy_world.safetensors"}  # Load Head Profile takes what Save Head Profile of its workflow wrote


@pytest.fixture(params=PATHS, ids=[path.stem for path in PATHS])
def path(request) -> Path:
    return request.param


@pytest.fixture
def graph(path) -> dict:
    return json.loads(path.read_text("utf-8"))


@pytest.fixture
def api(path) -> dict:
    return json.loads((FOLDER / "api" / path.name).read_text("utf-8"))


@pytest.fixture(scope="session")
def info(server) -> dict:
    return server.get("/object_info")


def test_every_node_exists(graph, info):
    assert {node["type"] for node in graph["nodes"]} - NOTES <= info.keys()


def test_widget_values_fit(graph, info):
    wrong = []
    for node in real_nodes(graph):
        values = widget_values(node, info[node["type"]])
        for name, value in values.items():
            kind, options = schema(info[node["type"]], node["widgets_values"])[name]
            if not fits(kind, options, value):
                wrong.append(f"{node['type']}.{name} = {value!r}")
    assert wrong == []


def test_links_join_equal_types(graph, info):
    nodes = {node["id"]: node for node in graph["nodes"]}
    for number, source, output, target, entrance, kind in graph["links"]:
        given = info[nodes[source]["type"]]["output"][output]
        socket = nodes[target]["inputs"][entrance]
        wanted = input_type(socket["name"], info[nodes[target]["type"]])
        assert kind == given, f"link {number}"
        place = f"link {number}: {nodes[target]['type']}.{socket['name']}"
        assert wanted == "*" or given in wanted.split(","), place
        assert number in nodes[source]["outputs"][output]["links"]
        assert socket["link"] == number


def test_required_inputs_are_there(graph, info):
    """In muted nodes too: a person who enables one wants to have it work."""
    for node in real_nodes(graph):
        linked = {socket["name"].split(".")[0] for socket in node["inputs"] if socket["link"] is not None}
        needed = info[node["type"]]["input"].get("required", {}).keys()
        assert needed <= linked | widget_values(node, info[node["type"]]).keys(), node["type"]


def test_api_twin_is_the_same(graph, api, info):
    expected = {str(node["id"]): prompt_of(node, graph, info) for node in real_nodes(graph, muted=False)}
    found = {number: {name: node[name] for name in ("class_type", "inputs")} for number, node in api.items()}
    assert found == expected


def test_every_file_has_its_twins():
    names = [path.stem for path in PATHS]
    assert names
    assert sorted(path.stem for path in (FOLDER / "api").glob("*.json")) == names
    assert sorted(path.stem for path in FOLDER.glob("*.jpg")) == names


def test_picture_is_one(path):
    from PIL import Image, ImageStat

    data = path.with_suffix(".jpg").read_bytes()
    assert len(data) <= 200_000
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG"
        assert min(picture.size) >= 240
        assert max(ImageStat.Stat(picture.convert("RGB")).stddev) > 10


def test_nodes_do_not_overlap(graph):
    pairs = combinations(graph["nodes"], 2)
    assert [(one["type"], other["type"]) for one, other in pairs if overlap(box(one), box(other))] == []


def test_groups_hold_whole_nodes(graph):
    for group in graph["groups"]:
        x, y, width, height = group["bounding"]
        frame = (x, y, x + width, y + height)
        for node in graph["nodes"]:
            assert not overlap(frame, box(node)) or inside(box(node), frame), (group["title"], node["type"])


def test_a_note_says_what_to_do(graph):
    """Also the files to download, and under which licence."""
    text = "\n".join(node["widgets_values"][0] for node in graph["nodes"] if node["type"] in NOTES)
    values = [value for node in real_nodes(graph) for value in node.get("widgets_values") or ()]
    downloads = [value for value in values if value in DOWNLOADS]
    assert "Try" in text
    assert [name for name in downloads if name not in text] == []
    assert "Licence" in text if downloads else "Nothing to download" in text or "nothing to download" in text


def test_nothing_to_download_means_toy_world(path, graph):
    values = [value for node in real_nodes(graph) for value in node.get("widgets_values") or ()]
    assert path.stem.startswith("toy_world") == (not DOWNLOADS.intersection(map(str, values)))


def test_every_node_of_the_pack_is_shown(node_classes):
    graphs = [json.loads(path.read_text("utf-8")) for path in PATHS]
    assert node_classes.keys() <= {node["type"] for graph in graphs for node in graph["nodes"]}


def test_load_head_profile_works_after_a_run(server):
    """The workflow shows it muted, since there is nothing to load before its first run."""
    name = "toy_world_profile_heads"
    graph = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    run = server.run(json.loads((FOLDER / "api" / f"{name}.json").read_text("utf-8")))
    assert run.status == "execution_success", run.error
    (muted,) = (node for node in graph["nodes"] if node["mode"] == NEVER)
    kind = muted["type"]
    assert kind == "DummyForcingLoadHeadProfile"
    (value,) = muted["widgets_values"]
    assert value in server.get(f"/object_info/{kind}")[kind]["input"]["required"]["name"][1]["options"]


def real_nodes(graph: dict, muted: bool = True) -> list[dict]:
    """Nodes that the server knows."""
    return [node for node in graph["nodes"] if node["type"] not in NOTES and (muted or node["mode"] == ALWAYS)]


def schema(node_info: dict, values: list) -> dict[str, tuple[str, dict]]:
    """Type and options of each input that is a widget, in the order of widgets; a list of choices is a COMBO.

    A dynamic combo brings the widgets of what is chosen in it.
    """
    found = {}
    for group in ("required", "optional"):
        for name, (kind, *rest) in node_info["input"].get(group, {}).items():
            options = rest[0] if rest else {}
            if isinstance(kind, list):
                kind, options = "COMBO", {**options, "options": kind}
            if kind == "COMFY_DYNAMICCOMBO_V3":
                choices = {choice["key"]: choice["inputs"] for choice in options["options"]}
                found[name] = "COMBO", {"options": list(choices)}
                chosen = next(value for value in values if value in choices)
                found |= {f"{name}.{child}": each for child, each in schema({"input": choices[chosen]}, []).items()}
            elif kind in WIDGETS:
                found[name] = kind, options
    return found


def widget_values(node: dict, node_info: dict) -> dict:
    """Values by name, without those of widgets that only the frontend knows."""
    names: list[str | None] = []
    values = node.get("widgets_values") or []
    for name, (_, options) in schema(node_info, values).items():
        names.append(name)
        if options.get("control_after_generate") or options.get("image_upload"):
            names.append(None)
    names += [None] * EXTRA_WIDGETS.get(node["type"], 0)
    assert len(values) == len(names), node["type"]
    return {name: value for name, value in zip(names, values, strict=True) if name is not None}


def fits(kind: str, options: dict, value) -> bool:
    if kind == "COMBO":
        return value in options["options"] or value in DOWNLOADS | SAVED_BY_A_RUN
    if kind in ("INT", "FLOAT"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = kind == "FLOAT" or isinstance(value, int)
        return number and whole and options["min"] <= value <= options["max"]
    return isinstance(value, bool if kind == "BOOLEAN" else str)


def input_type(name: str, node_info: dict) -> str:
    """The type of an input, or of one that a growing input has grown: `prompts.positive_0`."""
    parent, _, _child = name.partition(".")
    for group in ("required", "optional"):
        kind, *rest = node_info["input"].get(group, {}).get(parent, [None])
        if kind == "COMFY_AUTOGROW_V3":
            ((grown, *_),) = rest[0]["template"]["input"]["required"].values()
            return grown
        if kind is not None:
            return kind
    raise AssertionError(f"no input {name}")


def prompt_of(node: dict, graph: dict, info: dict) -> dict:
    """A node as it is in the API's format."""
    origins = {number: [str(source), output] for number, source, output, *_ in graph["links"]}
    inputs = widget_values(node, info[node["type"]])
    inputs |= {socket["name"]: origins[socket["link"]] for socket in node["inputs"] if socket["link"] is not None}
    return {"class_type": node["type"], "inputs": inputs}


def box(node: dict) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, with the title."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE_HEIGHT, x + width, y + height


def overlap(one: tuple, other: tuple) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def inside(inner: tuple, outer: tuple) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]
