"""Results and ComfyUI's cache: what a stop has cut short, what stands on which node, names that come from links."""

import shutil
import uuid
from itertools import count

import pytest

from dummy_forcing.nodes.heads.head_maps import EVENT as MAP
from dummy_forcing.nodes.live.live_streams import EVENT as STREAM

from ..conftest import TOY
from .comfy_server import ComfyServer
from .conftest import PACK
from .test_head_maps import PATCH, listed, profiled, streamed, toy
from .test_live import listed as streams_of
from .test_live import path_of

SUCCESS = "execution_success"
VIDEO = "5"
LONG = 57  # frames: longer than it takes to stop
fresh_seed = count(9000).__next__


@pytest.fixture(scope="module")
def server(comfyui, tmp_path_factory):
    """One whose cache holds the results of earlier prompts also where memory is short."""
    with ComfyServer(comfyui, PACK, tmp_path_factory.mktemp("cached"), ("--cache-lru", "500")) as running:
        yield running


def renamed(prompt, inside="12:"):
    """The same prompt with other ids: pasted, or put into a subgraph."""

    def other(value):
        return [inside + value[0], value[1]] if isinstance(value, list) else value

    return {
        inside + node_id: {**node, "inputs": {name: other(value) for name, value in node["inputs"].items()}}
        for node_id, node in prompt.items()
    }


def with_inputs(prompt, node_id, **inputs):
    return {**prompt, node_id: {**prompt[node_id], "inputs": {**prompt[node_id]["inputs"], **inputs}}}


def ran(run, node_id):
    """Whether a node was executed, not served from the cache."""
    assert run.status == SUCCESS, run.error
    return all(node_id not in data["nodes"] for data in run.of("execution_cached"))


# Stop.


def stopped_after_a_chunk(server, prompt, workflow_id=None):
    """A run that ComfyUI's own stop ends in the second chunk."""
    asked = []

    def stop(event, run):
        done = len({value for _, value, _ in run.progress})
        if event.type == "progress" and done >= 8 and not asked:
            asked.append(server.interrupt())

    run = server.run(prompt, workflow_id, on_event=stop)
    assert run.status == SUCCESS, run.error
    assert asked
    return run


def frames_of(server, run, node_id=VIDEO):
    import av

    (item,) = run.executed[node_id]["video"]
    with av.open(str(server.folder / "temp" / item["subfolder"] / item["filename"])) as container:
        return sum(1 for _ in container.decode(video=0))


def short_videos(length=LONG):
    """Stream AR Video, and its report behind it."""
    prompt = with_inputs(streamed(), VIDEO, length=length)
    return prompt | {"20": {"class_type": "PreviewAny", "inputs": {"source": [VIDEO, 2]}}}


def test_a_stopped_video_is_made_whole_by_the_same_prompt(server):
    prompt, workflow_id = short_videos(), str(uuid.uuid4())
    cut = stopped_after_a_chunk(server, prompt, workflow_id)
    few = frames_of(server, cut)
    assert 0 < few < LONG and f"{few} frames" in cut.executed["20"]["text"][0]  # what follows has run with it
    whole = server.run(prompt, workflow_id)
    assert ran(whole, VIDEO) and frames_of(server, whole) == LONG
    assert f"{LONG} frames" in whole.executed["20"]["text"][0]
    again = server.run(prompt, workflow_id)
    assert not ran(again, VIDEO) and frames_of(server, again) == LONG
    assert frames_of(server, cut) == few  # its file is kept


def test_a_stopped_video_is_made_whole_by_another_graph(server):
    prompt = short_videos()
    stopped_after_a_chunk(server, prompt, str(uuid.uuid4()))
    other = renamed(prompt)
    whole = server.run(other, str(uuid.uuid4()))
    assert frames_of(server, whole, "12:" + VIDEO) == LONG
    assert not ran(server.run(other), "12:" + VIDEO)


def test_a_stop_costs_other_videos_nothing(server):
    first = short_videos(9)
    server.run(first)
    stopped_after_a_chunk(server, with_inputs(first, VIDEO, seed=fresh_seed(), length=LONG))
    assert not ran(server.run(first), VIDEO)


def test_a_stop_costs_a_twin_on_another_model_nothing(server):
    twin = short_videos()
    assert frames_of(server, server.run(twin)) == LONG
    stopped = with_inputs(twin, VIDEO, model=["2", 0])  # equal widgets, without the patch
    stopped_after_a_chunk(server, stopped)
    assert not ran(server.run(twin), VIDEO)
    whole = server.run(stopped)
    assert ran(whole, VIDEO) and frames_of(server, whole) == LONG


def test_the_players_stop_counts_as_well(server):
    prompt, asked = short_videos(), []

    def stop(event, run):
        if event.type == STREAM and event.data["prompt_id"] == run.prompt_id and event.data["runs"] and not asked:
            asked.append(server.post(path_of(event.data) + "/stop", {}))

    cut = server.run(prompt, str(uuid.uuid4()), on_event=stop)
    assert frames_of(server, cut) < LONG
    assert frames_of(server, server.run(prompt)) == LONG


def sampled(length=LONG):
    """AR Streaming Sampler behind SamplerCustomAdvanced; its frames are counted as pictures."""
    parts = {"noise": ["10", 0], "guider": ["11", 0], "sampler": ["12", 0], "sigmas": ["13", 0]}
    size = {"width": 96, "height": 96, "length": length, "batch_size": 1}
    return toy(
        **{
            "10": {"class_type": "RandomNoise", "inputs": {"noise_seed": fresh_seed()}},
            "11": {"class_type": "BasicGuider", "inputs": {"model": [PATCH, 0], "conditioning": ["3", 0]}},
            "12": {"class_type": "DummyForcingStreamingSampler", "inputs": {"chunk_frames": 3}},
            "13": {"class_type": "BasicScheduler", "inputs": {
                "model": ["2", 0], "scheduler": "simple", "steps": 4, "denoise": 1}},
            "14": {"class_type": "EmptyARVideoLatent", "inputs": size},
            "15": {"class_type": "SamplerCustomAdvanced", "inputs": parts | {"latent_image": ["14", 0]}},
            "16": {"class_type": "VAEDecode", "inputs": {"samples": ["15", 0], "vae": ["3", 1]}},
            "17": {"class_type": "PreviewImage", "inputs": {"images": ["16", 0]}},
        }
    )  # fmt: skip


def test_a_sampler_that_was_stopped_samples_again(server):
    """Also in a graph with other ids, and twice: the sampler itself came from the cache when it was stopped."""
    prompt = sampled()
    server.run(with_inputs(sampled(9), "10", noise_seed=fresh_seed()))
    for _ in range(2):
        prompt = with_inputs(prompt, "10", noise_seed=fresh_seed())
        cut = stopped_after_a_chunk(server, prompt)
        assert 0 < len(cut.executed["17"]["images"]) < LONG
        other = renamed(prompt)
        whole = server.run(other)
        assert len(whole.executed["12:17"]["images"]) == LONG
        assert not ran(server.run(prompt), "15")


def test_a_stopped_comparison_is_made_whole(server):
    pictures = {"width": 256, "height": 256, "batch_size": 400}
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {**pictures, "color": 0x808080}},
        "2": {"class_type": "EmptyImage", "inputs": {**pictures, "color": 0x818181}},
        "3": {"class_type": "DummyForcingCompare", "inputs": {
            "a": ["1", 0], "b": ["2", 0], "label_a": "A", "label_b": f"B{fresh_seed()}"}},
    }  # fmt: skip
    asked = []

    def stop(event, run):
        if event.type == STREAM and event.data["prompt_id"] == run.prompt_id and event.data["runs"] and not asked:
            asked.append(server.post(path_of(event.data) + "/stop", {}))

    cut = server.run(prompt, str(uuid.uuid4()), on_event=stop)
    assert "400 frames" not in cut.executed["3"]["text"][0]
    whole = server.run(prompt)
    assert ran(whole, "3") and "400 frames" in whole.executed["3"]["text"][0]
    assert not ran(server.run(prompt), "3")


# What stands on which node.


def shown(maps):
    """Where each map stands."""
    return [(each["id"], each["node_id"]) for each in maps]


def test_a_patch_from_the_cache_shows_its_heads_where_it_was_served(server):
    """While the run goes on: in another graph, with other ids, for a video with another seed."""
    prompt = streamed()
    server.run(prompt, str(uuid.uuid4()))
    other, workflow_id = renamed(with_inputs(prompt, VIDEO, seed=fresh_seed())), str(uuid.uuid4())
    run = server.run(other, workflow_id)
    assert not ran(run, "12:" + PATCH) and ran(run, "12:" + VIDEO)
    (told,) = run.of(MAP)
    assert (told["node_id"], told["workflow_id"]) == ("12:" + PATCH, workflow_id)
    server.history(run.prompt_id)
    assert shown(listed(server, workflow_id)) == [(told["id"], "12:" + PATCH)]


@pytest.mark.parametrize("make", [streamed, profiled], ids=["measured in a video", "profiled"])
def test_all_from_the_cache_stands_on_the_other_graphs_nodes(server, make):
    prompt, first, second = make(), str(uuid.uuid4()), str(uuid.uuid4())
    server.history(server.run(prompt, first).prompt_id)
    made = listed(server, first)
    assert made
    run = server.run(renamed(prompt), second)
    server.history(run.prompt_id)
    assert run.of(MAP) == []
    assert sorted(shown(listed(server, second))) == sorted((id_, "12:" + node) for id_, node in shown(made))
    streams = [(each["id"], "12:" + each["node_id"]) for each in streams_of(server, first)]
    assert [(each["id"], each["node_id"]) for each in streams_of(server, second)] == streams


def test_two_equal_nodes_of_one_graph_show_the_same(server):
    """Pasted: ComfyUI runs one of the two."""
    prompt, workflow_id = streamed(), str(uuid.uuid4())
    pasted = {"30": prompt[PATCH], "31": with_inputs(prompt, VIDEO, model=["30", 0])[VIDEO]}
    run = server.run(prompt | pasted, workflow_id)
    assert run.status == SUCCESS, run.error
    server.history(run.prompt_id)
    (map_id,) = {each["id"] for each in listed(server, workflow_id)}
    assert {node for _, node in shown(listed(server, workflow_id))} == {PATCH, "30"} and map_id
    states = streams_of(server, workflow_id)
    assert {each["node_id"] for each in states} == {VIDEO, "31"} and len({each["id"] for each in states}) == 1


def test_going_back_to_earlier_settings_shows_what_was_made_with_them(server):
    first, workflow_id = streamed(), str(uuid.uuid4())
    second = with_inputs(with_inputs(first, PATCH, dummy_ratio=0.75), VIDEO, seed=fresh_seed())
    made = []
    for prompt in (first, second, first):
        run = server.run(prompt, workflow_id)
        assert run.status == SUCCESS, run.error
        server.history(run.prompt_id)
        made.append((listed(server, workflow_id)[-1]["id"], streams_of(server, workflow_id)[-1]["id"]))
    assert made[0] == made[2] != made[1]


# Names from links.


def linked(prompt, node_id, name, value):
    """The prompt with an input that comes through a switch from a text."""
    return with_inputs(prompt, node_id, **{name: ["41", 0]}) | {
        "40": {"class_type": "PrimitiveString", "inputs": {"value": value}},
        "41": {"class_type": "ComfySwitchNode", "inputs": {
            "switch": True, "on_true": ["40", 0], "on_false": ["40", 0]}},
    }  # fmt: skip


def change(file):
    """A file's time of change moves on."""
    import os

    moved = file.stat().st_mtime + 10
    os.utime(file, (moved, moved))


def about(node_id="2", **nodes):
    info = {"model": [node_id, 0], "width": 0, "height": 0, "length": 21}
    return {
        "2": toy()["2"], "8": {"class_type": "DummyForcingModelInfo", "inputs": info},
        "9": {"class_type": "PreviewAny", "inputs": {"source": ["8", 0]}}, **nodes,
    }  # fmt: skip


def test_a_model_whose_name_comes_from_a_link_is_read_once_until_its_file_changes(server):
    file = server.folder / "models" / "diffusion_models" / "linked model.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(TOY / "toy_backbone.safetensors", file)
    prompt = linked(about(), "2", "model", file.name)
    assert ran(server.run(prompt), "2")
    assert not ran(server.run(prompt), "2") and not ran(server.run(renamed(prompt)), "12:2")
    change(file)
    assert ran(server.run(prompt), "2")
    assert not ran(server.run(prompt), "2")
    assert "join()" not in server.log and "WARNING: " not in server.log


def test_a_lora_whose_name_comes_from_a_link_does_not_read_the_model_anew(server):
    prompt = linked(about(), "2", "lora", "none")
    assert [ran(server.run(prompt), "2") for _ in range(2)] == [True, False]


def test_a_head_profile_whose_name_comes_from_a_link(server):
    name = f"linked {fresh_seed()}"
    assert server.run(profiled(name)).status == SUCCESS
    load = {"class_type": "DummyForcingLoadHeadProfile", "inputs": {"name": ""}}
    patch = {"class_type": "DummyForcingPatch", "inputs": {
        "model": ["2", 0], "dummy_ratio": 0.5, "local_context": 1, "profile": ["7", 0]}}  # fmt: skip
    prompt = linked(about("4", **{"7": load, "4": patch}), "7", "name", f"{name}.safetensors")
    assert [ran(server.run(prompt), "7") for _ in range(2)] == [True, False]
    change(server.folder / "models" / "head_profiles" / f"{name}.safetensors")
    assert [ran(server.run(prompt), "7") for _ in range(2)] == [True, False]
