"""Head maps without a browser: who publishes them, what they hold, and what is measured only once."""

import gc
import json
import time
import weakref

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.head_map import MapCosts
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.stream.events import HeadsClassified
from dummy_forcing.core.world.vocabulary import TEXT_TOKENS
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.heads import head_maps, profile_heads
from dummy_forcing.nodes.heads.head_maps import HeadMaps
from dummy_forcing.nodes.heads.measured_samples import MeasuredSamples
from dummy_forcing.nodes.heads.profile_heads import ProfileDummyHeads
from dummy_forcing.nodes.host import frontend
from dummy_forcing.nodes.host.frontend import NodePlace, RunningNode, Said, workflow_id_of
from dummy_forcing.nodes.live.live_view import LiveView
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.kv_window import ARKVWindow
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.model_facts import facts_of
from dummy_forcing.nodes.video.toy_world import ToyWorld

PROMPTS = ("a red circle moving right", "a blue square moving up")
TOKENS = 36  # of a latent frame of the toy world


@pytest.fixture
def told():
    return []


@pytest.fixture
def at(monkeypatch):
    """A function that says which node of what prompt is executed: there is no queue in tests without a server."""

    def put(node_id="5", prompt=None, workflow_id="workflow"):
        running = None if node_id is None else RunningNode(node_id, prompt or {}, workflow_id)
        monkeypatch.setattr(head_maps, "running_node", lambda: running)

    return put


@pytest.fixture
def maps(told, at, monkeypatch):
    """The registry that the nodes use; what it tells browsers is in `told`. Node 5 of a graph is executed."""
    at()
    registry = HeadMaps(told.append)
    monkeypatch.setattr(head_maps, "HEAD_MAPS", registry)
    monkeypatch.setattr(profile_heads, "_MEASURED", MeasuredSamples())
    return registry


@pytest.fixture
def toy(host):
    return LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]


@pytest.fixture
def prompts():
    return {f"positive_{index}": ToyWorld.execute(text).args[0] for index, text in enumerate(PROMPTS)}


def execute(node, *args, unique_id="5", prompt=None, **options):
    """Run a node as ComfyUI prepares it."""
    from comfy_api.latest._io import Hidden

    hidden = {Hidden.unique_id: unique_id, Hidden.prompt: prompt}
    return node.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(*args, **options)


def measure(toy, prompts, ratio=0.5, seed=0, chunks=2, **options):
    return execute(ProfileDummyHeads, toy, prompts, 0, 0, chunks, seed, ratio, **options).args


# The registry.


@pytest.fixture
def publish(toy, prompts, maps, at):
    """A function that publishes a map on a node; its name tells it from others."""
    at(None)
    profile = measure(toy, prompts)[0]
    at()

    def on(node_id, name, workflow_id="workflow", token="token"):
        place = workflow_id and NodePlace(node_id, workflow_id)
        maps.publish(lambda: head_maps.map_of_profile("profile", profile, name=name), token, lambda running: place)

    return on


def names(maps, workflow_id="workflow"):
    return [each["name"] for each in maps.of_workflow(workflow_id)]


def test_a_node_has_its_newest_maps_and_all_have_no_more_than_the_bound(maps, publish, told):
    for index in range(18):
        publish("5", f"first {index}")
    publish("6", "second")
    publish("5", "elsewhere", "other")
    assert names(maps) == [*(f"first {index}" for index in range(2, 18)), "second"]
    assert names(maps, "other") == ["elsewhere"] and names(maps, "none") == []
    for index in range(100):
        publish(f"node {index}", "many")
    assert len(maps.of_workflow("workflow")) == 64
    assert len(told) == 120 and len({each["id"] for each in told}) == 120
    assert all(len(bytes.fromhex(each["id"])) == 16 for each in told)


def test_nothing_is_told_without_a_graph_and_a_failure_harms_nobody(maps, told, publish, caplog):
    publish("5", "of a program", None)

    def fail(*_):
        raise ZeroDivisionError("no map")

    maps.publish(fail, "token", lambda running: NodePlace("5", "workflow"))
    maps.publish(lambda: None, "token", fail)
    assert "ZeroDivisionError" in caplog.text and told == [] and names(maps) == []
    broken = HeadMaps(lambda content: fail())
    broken.publish(lambda: pytest.fail, "token", lambda running: NodePlace("5", "workflow"))


def test_nodes_show_what_comfyui_said_of_them_last(maps, publish, monkeypatch):
    """A pasted node, the node of another graph, and settings from before, all of them served from the cache."""
    said = {"workflow": [], "other": [Said("9", "one", time.time())], "none": [Said("9", "unknown", time.time())]}
    monkeypatch.setattr(frontend, "outputs_of", lambda workflow_id, key: said[workflow_id])
    for name in ("one", "two"):
        publish("5", name, token=name)
    publish("5", "of a program", None, token="program")
    assert names(maps) == ["one", "two"]
    later = time.time() + 10
    said["workflow"] += [Said("6", "one", later), Said("12:5", "program", later + 1), Said("5", "one", later + 2)]
    shown = [(each["name"], each["node_id"], each["workflow_id"]) for each in maps.of_workflow("workflow")]
    expected = [("two", "5"), ("one", "6"), ("of a program", "12:5"), ("one", "5")]
    assert shown == [(name, node_id, "workflow") for name, node_id in expected]
    assert [(each["name"], each["node_id"]) for each in maps.of_workflow("other")] == [("one", "9")]
    assert names(maps, "none") == []


# What the nodes publish.


def test_a_profile_is_shown_as_it_was_measured(toy, prompts, maps, told):
    graph = {
        "5": {"inputs": {"prompts.positive_0": ["1", 0], "prompts.positive_1": ["2", 0]}},
        "1": {"inputs": {"prompt": PROMPTS[0]}},
        "2": {"inputs": {"prompt": ["9", 0]}},
    }
    profile = measure(toy, prompts, 0.25, prompt=graph, forced_roles="5:5=sink, 0:0=dummy")[0]
    (found,) = told
    assert json.loads(json.dumps(found, allow_nan=False)) == found == maps.of_workflow("workflow")[0]
    assert found["origin"] == "measured" and (found["node_id"], found["workflow_id"]) == ("5", "workflow")
    assert found["name"] == f"{PROMPTS[0]} / positive_1"
    assert found["roles"] == profile.roles.tolist()
    assert found["roles"][5][5] == 0 and found["roles"][0][0] == 2
    torch.testing.assert_close(torch.tensor(found["masses"]), profile.masses, atol=0, rtol=1e-5)
    expected = {"dummy_ratio": 0.25, "cost": "normalised", "forced_roles": "0:0=dummy, 5:5=sink"}
    assert found["settings"] == expected | {"inherited_roles": "", "local_context": 1, "packed_frames": 1}
    costs = MapCosts.of(facts_of(toy).shape, TOKENS, 3, 21, TEXT_TOKENS)
    assert found["costs"] == vars(costs)


def test_a_patch_shows_its_profile_as_it_uses_it(toy, prompts, maps, told, at):
    at(None)
    profile = measure(toy, prompts, forced_roles="5:5=sink")[0]
    options = {"profile": profile, "packed_frames": 2, "forced_roles": "0:0=neighbor"}
    at("12:5")
    patched = execute(DummyForcingPatch, toy, 0.25, 3, **options).args[0]
    (found,) = told
    assert found["origin"] == "profile" and found["node_id"] == "12:5"
    assert found["settings"]["forced_roles"] == "0:0=neighbor, 5:5=sink"
    assert found["settings"]["inherited_roles"] == "5:5=sink"
    roles = program_heads(profile.masses, 0.25, forced=((0, 0, 1), (5, 5, 0)))
    assert found["roles"] == roles.tolist() == torch.tensor(door.memory_config(patched).keep.roles).tolist()
    assert found["settings"]["local_context"] == 3 and found["settings"]["packed_frames"] == 2


@pytest.mark.parametrize("extra", [None, {}, {"workflow": None}, {"workflow": {"id": 5}}])
def test_prompts_of_programs_are_told_to_nobody(toy, prompts, maps, told, extra, at):
    at(workflow_id=workflow_id_of(extra))
    profile = measure(toy, prompts)[0]
    execute(DummyForcingPatch, toy, 0.5, 1, profile=profile)
    assert told == []


def patch_node(*above, **constants):
    """A Dummy Forcing Patch of a prompt, behind other nodes."""
    return {"class_type": "DummyForcingPatch", "inputs": {**constants, **dict(zip("abc", above, strict=False))}}


PROMPT = {
    "1": {"class_type": "DummyForcingLoadModel", "inputs": {"model": "toy world (built in)"}},
    "6": patch_node(["1", 0], dummy_ratio=0.5),
    "7": patch_node(["6", 0], dummy_ratio=0.5),
    "12:7": patch_node(["1", 0], dummy_ratio=0.5),
    "8": patch_node(["1", 0], dummy_ratio=0.25),
    "9": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["7", 0]}},
    "10": {"class_type": "KSampler", "inputs": {"model": ["9", 0], "other": ["8", 0]}},
    "11": {"class_type": "KSampler", "inputs": {"model": ["12:7", 0], "seed": 3}},
    "13": {"class_type": "KSampler", "inputs": {"model": ["8", 0]}},
}


@pytest.fixture
def patched(golden_model, at):
    """The golden model as node 7 of the prompt patches it."""
    at("7", PROMPT)
    return execute(DummyForcingPatch, golden_model, 0.5, 1, forced_roles="3:3=sink").args[0]


@pytest.mark.parametrize("maker", ["core_sampler", "our_sampler"])
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_heads_measured_in_a_video_are_shown_on_the_patch(
    golden_model, golden, sample, maker, cfg, maps, told, patched, at, request
):
    """Under ComfyUI's own AR sampler and ours, once a video, also where a second conditioning is measured too."""
    events, make = [], request.getfixturevalue(maker)
    assert told == []
    sampler = make()
    sampler.consumer = events.append  # ours only
    at("10", PROMPT)
    sample(patched.clone(), sampler, cfg=cfg)
    (found,) = told
    assert found["origin"] == "video" and found["node_id"] == "7" and found["roles"][3][3] == 0
    assert sum(role == 2 for row in found["roles"] for role in row) == 8
    text_tokens = golden("dense")["context"].shape[1]
    assert found["costs"] == vars(MapCosts.of(facts_of(golden_model).shape, 24, 3, 21, text_tokens))
    for event in events:
        if isinstance(event, HeadsClassified):
            assert found["roles"] == event.roles.tolist()
    sample(patched, make(), cfg=cfg)
    assert len(told) == 2 and told[0]["masses"] == told[1]["masses"] and told[0]["id"] != told[1]["id"]
    assert told[0]["token"] == told[1]["token"]


def test_a_patch_from_the_cache_shows_heads_on_the_node_that_it_was_served_for(
    sample, core_sampler, maps, told, patched, at
):
    at("11", PROMPT, "another graph")
    sample(patched, core_sampler())
    (found,) = told
    assert (found["node_id"], found["workflow_id"]) == ("12:7", "another graph")
    for nowhere in ("13", "99"):  # a node behind another patch only; one that another node has put into the run
        at(nowhere, PROMPT)
        sample(patched, core_sampler())
    assert told == [found] and len({each["token"] for each in maps._maps}) == 1 and len(maps._maps) == 3


def test_another_memory_behind_the_patch_has_no_map(golden_model, sample, core_sampler, maps, told):
    model = execute(DummyForcingPatch, golden_model, 0.5, 1).args[0]
    sample(ARKVWindow.execute(model, 6, 1).args[0], core_sampler())
    sample(door.with_memory(model, door.memory_config(DummyForcingPatch.execute(golden_model, 0.25, 1).args[0])),
           core_sampler())  # fmt: skip
    assert told == []


def test_a_video_is_made_although_its_map_cannot_be(golden_model, sample, core_sampler, maps, monkeypatch):
    def fail():
        raise AttributeError("no queue")

    model = execute(DummyForcingPatch, golden_model, 0.5, 1).args[0]
    plain = ARKVWindow.execute(golden_model, 6, 1).args[0]
    plain = door.with_memory(plain, door.memory_config(model))  # no node shows its heads
    monkeypatch.setattr(head_maps, "running_node", fail)
    assert torch.equal(sample(model, core_sampler()), sample(plain, core_sampler()))


def test_without_a_server_nothing_runs(golden_model, sample, core_sampler, maps, told, at):
    at(None)
    sample(execute(DummyForcingPatch, golden_model, 0.5, 1).args[0], core_sampler())
    assert told == []


# Forced roles.


@pytest.mark.parametrize("node", [DummyForcingPatch, ProfileDummyHeads])
@pytest.mark.parametrize(
    ("text", "message"),
    [("3:5", "for example '3:5=sink, 10:2=dummy'"), ("6:0=sink", r"the model has 6 layers x 6 heads")],
)
def test_a_text_that_forces_nothing_is_refused(toy, prompts, maps, node, text, message):
    args = (toy, 0.5, 1) if node is DummyForcingPatch else (toy, prompts, 0, 0, 2, 0, 0.5)
    with pytest.raises(DummyForcingError, match=message):
        execute(node, *args, forced_roles=text)


def test_forced_roles_travel_with_the_model(golden_model):
    model = DummyForcingPatch.execute(golden_model, 0.5, 1, forced_roles="3:1=dummy, 0:2=sink").args[0]
    assert door.memory_config(model).keep == DummyForcing(forced_roles=((0, 2, 0), (3, 1, 2)))


# Measured once.


@pytest.fixture
def videos(monkeypatch):
    """One entry for each video that is made to measure on."""
    made, begin = [], LiveView.__init__

    def counted(self, *args, **options):
        made.append(args)
        begin(self, *args, **options)

    monkeypatch.setattr(LiveView, "__init__", counted)
    return made


def test_what_follows_from_the_samples_measures_nothing_again(toy, prompts, maps, videos, told):
    first = measure(toy, prompts)[0]
    assert len(videos) == 2
    other = measure(toy, prompts, 0.25, cost="paper", forced_roles="0:0=sink")[0]
    assert len(videos) == 2 and len(told) == 2
    assert other.masses.equal(first.masses) and other.samples.equal(first.samples)
    assert other.roles.equal(program_heads(first.masses, 0.25, "paper", ((0, 0, 0),)))
    assert measure(toy, prompts)[0].roles.equal(first.roles)
    assert len(videos) == 2


def test_what_they_were_measured_on_measures_again(toy, prompts, maps, videos):
    same = dict(prompts)
    measure(toy, prompts)
    clone, again = toy.clone(), ToyWorld.execute(PROMPTS[0]).args[0]
    area = [[embedding, {**options, "strength": 0.5}] for embedding, options in prompts["positive_0"]]
    changes = [
        {"seed": 1},
        {"chunks": 3},
        {"toy": clone},
        {"prompts": {**same, "positive_0": again}},
        {"prompts": {**same, "positive_0": area}},
        {"prompts": {"positive_0": same["positive_1"], "positive_1": same["positive_0"]}},
        {"prompts": {"positive_0": same["positive_0"]}},
        {"unique_id": "6"},
    ]
    for change in changes:
        before = len(videos)
        measure(**{"toy": toy, "prompts": prompts, **change})
        assert len(videos) > before, change
    before = len(videos)
    measure(toy, prompts, unique_id="6")
    assert len(videos) == before


def test_other_pixels_measure_again(toy, prompts, maps, videos):
    measure(toy, prompts)
    execute(ProfileDummyHeads, toy, prompts, 128, 96, 2, 0, 0.5)
    assert len(videos) == 4


def test_nothing_holds_on_to_the_model_or_the_prompts(toy, maps):
    kept = MeasuredSamples()
    model, prompt = toy.clone(), [[torch.zeros(1, 3, 4), {"mask": torch.zeros(2)}]]
    watched = [weakref.ref(each) for each in (model, prompt[0][0], prompt[0][1]["mask"])]
    samples = [torch.zeros(3)]
    kept.keep("5", {"model": model, "prompts": [prompt]}, samples)
    assert kept.find("5", {"model": model, "prompts": [prompt]}) is samples
    assert kept.find("6", {"model": model, "prompts": [prompt]}) is None
    assert kept.find("5", {"model": model, "prompts": [[[prompt[0][0], {}]]]}) is None
    del model, prompt
    gc.collect()
    assert [each() for each in watched] == [None] * 3
    assert kept.find("5", {"model": toy.clone(), "prompts": []}) is None


def test_the_samples_kept_are_bounded():
    kept = MeasuredSamples(most_nodes=3, most_bytes=100)
    for node in range(5):
        kept.keep(str(node), node, [torch.zeros(5)])
    assert [kept.find(str(node), node) is not None for node in range(5)] == [False, False, True, True, True]
    kept.keep("5", 5, [torch.zeros(16)])
    assert [kept.find(str(node), node) is not None for node in range(2, 6)] == [False, False, True, True]
    kept.keep("6", 6, [torch.zeros(26)])
    assert not any(kept.find(str(node), node) for node in range(7))
    kept.keep(None, 7, [torch.zeros(1)])
    assert kept.find(None, 7) is None
