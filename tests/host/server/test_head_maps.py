"""Head maps over the real server: what a browser gets of a run, and what anybody else does not."""

import json
import random
import shutil
import urllib.parse
import uuid
from pathlib import Path

import pytest

from dummy_forcing.nodes.heads.head_maps import EVENT

from .comfy_server import Refused
from .odd_paths import PARTS, ask, ask_odd_paths
from .test_live import content, fresh_seed

MAPS = "/dummy_forcing/head_maps"
HEADS = 6
PATCH, SAVED = "4", "head maps.safetensors"


def toy(**nodes):
    """A prompt: the toy world, a patched model, and more nodes."""
    seed = fresh_seed()
    return {
        "2": {"class_type": "DummyForcingLoadModel", "inputs": {
            "model": "toy world (built in)", "family": "auto", "weight_dtype": "default", "lora": "none",
            "lora_strength": 1}},
        "3": {"class_type": "DummyForcingToyWorld", "inputs": {"prompt": "a red circle moving left"}},
        "6": {"class_type": "DummyForcingProfileHeads", "inputs": {
            "model": ["2", 0], "prompts.positive_0": ["3", 0], "width": 0, "height": 0, "chunks": 2, "seed": seed,
            "dummy_ratio": 0.5}},
        PATCH: {"class_type": "DummyForcingPatch", "inputs": {
            "model": ["2", 0], "dummy_ratio": 0.25, "local_context": 2, "forced_roles": "5:5=sink, 0:0=dummy"}},
        **nodes,
    }  # fmt: skip


def profiled(name=SAVED, **inputs):
    """A profile, saved and used."""
    prompt = toy(
        **{
            "7": {"class_type": "DummyForcingSaveHeadProfile", "inputs": {"profile": ["6", 0], "name": name}},
            "8": {"class_type": "DummyForcingModelInfo", "inputs": {
                "model": [PATCH, 0], "width": 0, "height": 0, "length": 21}},
            "9": {"class_type": "PreviewAny", "inputs": {"source": ["8", 0]}},
        }
    )  # fmt: skip
    prompt[PATCH]["inputs"]["profile"] = ["6", 0]
    prompt["6"]["inputs"] |= inputs
    return prompt


def streamed():
    """A video by our node."""
    video = {"model": [PATCH, 0], "positive": ["3", 0], "vae": ["3", 1], "width": 0, "height": 0, "length": 33}
    return toy(**{"5": {"class_type": "DummyForcingStreamVideo", "inputs": video | {"seed": fresh_seed()}}})


def sampled(sampler):
    """A video by ComfyUI's nodes around a sampler."""
    parts = {"noise": ["10", 0], "guider": ["11", 0], "sampler": ["12", 0], "sigmas": ["13", 0]}
    return toy(
        **{
            "10": {"class_type": "RandomNoise", "inputs": {"noise_seed": fresh_seed()}},
            "11": {"class_type": "BasicGuider", "inputs": {"model": [PATCH, 0], "conditioning": ["3", 0]}},
            "12": sampler,
            "13": {"class_type": "BasicScheduler", "inputs": {
                "model": ["2", 0], "scheduler": "simple", "steps": 2, "denoise": 1}},
            "14": {"class_type": "EmptyARVideoLatent", "inputs": {
                "width": 96, "height": 96, "length": 33, "batch_size": 1}},
            "15": {"class_type": "SamplerCustomAdvanced", "inputs": parts | {"latent_image": ["14", 0]}},
            "16": {"class_type": "PreviewAny", "inputs": {"source": ["15", 0]}},
        }
    )  # fmt: skip


def run(server, prompt, workflow_id):
    """The maps that browsers are told of in a run."""
    found = server.run(prompt, workflow_id)
    assert found.status == "execution_success", found.error
    return [event.data for event in found.events if event.type == EVENT]


def listed(server, workflow_id):
    return server.get(f"{MAPS}?workflow_id={workflow_id}")["maps"]


def contents(maps):
    return [content(each) for each in maps]


@pytest.fixture(scope="module")
def done(server):
    """A run that has measured, saved and used a profile: its workflow's id and its maps."""
    workflow_id = str(uuid.uuid4())
    return workflow_id, run(server, profiled(), workflow_id)


def test_a_profile_is_told_where_it_was_measured_and_where_it_is_used(server, done):
    workflow_id, (measured, used) = done
    assert contents(listed(server, workflow_id)) == contents([measured, used])
    assert (measured["origin"], measured["node_id"]) == ("measured", "6")
    assert (used["origin"], used["node_id"]) == ("profile", PATCH)
    assert measured["name"] == used["name"] == "a red circle moving left"
    assert measured["masses"] == used["masses"] and len(used["roles"]) == len(used["roles"][0]) == HEADS
    assert used["settings"]["dummy_ratio"] == 0.25 and used["settings"]["local_context"] == 2
    assert used["roles"][5][5] == 0 and used["roles"][0][0] == 2
    assert all(each["workflow_id"] == workflow_id for each in (measured, used))


def test_another_ratio_measures_nothing_again(server):
    workflow_id, seed = str(uuid.uuid4()), fresh_seed()
    runs = [
        server.run(profiled("another", dummy_ratio=ratio, seed=seed), workflow_id) for ratio in (0.5, 0.75, 0.25)
    ]
    told = [[event.data["text"] for event in each.events if event.type == "progress_text"] for each in runs]
    assert ["measured before, roles are new" in texts for texts in told] == [False, True, True]
    measured = [each for each in listed(server, workflow_id) if each["origin"] == "measured"]
    assert [each["settings"]["dummy_ratio"] for each in measured] == [0.5, 0.75, 0.25]
    assert measured[0]["masses"] == measured[1]["masses"] == measured[2]["masses"]


@pytest.mark.parametrize(
    "prompt",
    [
        streamed,
        lambda: sampled({"class_type": "SamplerARVideo", "inputs": {"num_frame_per_block": 3}}),
        lambda: sampled({"class_type": "DummyForcingStreamingSampler", "inputs": {"chunk_frames": 3}}),
    ],
    ids=["Stream AR Video", "SamplerARVideo", "AR Streaming Sampler"],
)
def test_a_video_shows_its_heads_on_the_patch(server, prompt):
    """Also where the patch itself comes from ComfyUI's cache, for whatever workflow it ran before."""
    for _ in range(2):
        workflow_id = str(uuid.uuid4())
        (found,) = run(server, prompt(), workflow_id)
        assert (found["origin"], found["node_id"]) == ("video", PATCH)
        assert found["roles"][5][5] == 0 and found["roles"][0][0] == 2
        assert sum(role == 2 for row in found["roles"] for role in row) == HEADS * HEADS // 4
        assert contents(listed(server, workflow_id)) == contents([found])


def test_a_prompt_of_a_program_has_no_map(server):
    assert run(server, streamed(), None) == []


def test_forced_roles_that_are_none_are_one_line(server):
    prompt = streamed()
    prompt[PATCH]["inputs"]["forced_roles"] = "5=5"
    found = server.run(prompt, str(uuid.uuid4()))
    assert found.status == "execution_error"
    assert "for example '3:5=sink, 10:2=dummy'" in str(found.error)


# Saved profiles.


def saved(server):
    return {each["name"]: each["id"] for each in server.get(f"{MAPS}/saved")["saved"]}


def folder(server) -> Path:
    return server.folder / "models" / "head_profiles"


def test_a_saved_profile_is_the_one_that_was_measured(server, done):
    _, (measured, _) = done
    found = server.get(f"{MAPS}/saved/{saved(server)[SAVED]}")
    assert found["masses"] == measured["masses"] and found["roles"] == measured["roles"]
    assert found["costs"] == measured["costs"] and found["settings"] == measured["settings"]
    assert (found["origin"], found["name"]) == ("saved", SAVED)
    assert found["node_id"] is None and found["workflow_id"] is None
    assert contents(listed(server, done[0])) == contents(done[1])


def test_a_damaged_file_says_so_without_its_path(server, done):
    damaged = folder(server) / "damaged.safetensors"
    damaged.write_bytes((folder(server) / SAVED).read_bytes()[:300])
    (folder(server) / "other.safetensors").write_bytes(b"")
    try:
        for name in ("damaged.safetensors", "other.safetensors"):
            status, _, body = ask(server, "GET", f"{MAPS}/saved/{saved(server)[name]}")
            said = json.loads(body)["error"]
            assert status == 400 and name in said and str(server.folder) not in said
    finally:
        damaged.unlink()
        (folder(server) / "other.safetensors").unlink()


def test_no_file_harms_the_server(server, done):
    """A hundred profiles with some bytes changed: a map in valid JSON, or 400."""
    whole, source, found = (folder(server) / SAVED).read_bytes(), random.Random(1), set()
    files = [folder(server) / f"damaged {number}.safetensors" for number in range(100)]
    for file in files:
        data = bytearray(whole)
        for _ in range(source.choice([1, 2, 30])):
            data[source.randrange(source.choice([2000, len(data)]))] = source.choice(b'0-19.e"{}[],:nN \\\xff\x00')
        file.write_bytes(data)
    try:
        for name, number in saved(server).items():
            status, _, body = ask(server, "GET", f"{MAPS}/saved/{number}")
            found.add(status)
            answer = json.loads(body, parse_constant=pytest.fail)
            assert status == 200 or (status == 400 and len(answer["error"]) <= 500), (name, status)
            assert str(server.folder) not in body.decode(), name
    finally:
        for file in files:
            file.unlink()
    assert found == {200, 400} and "Error handling request" not in server.log


def test_a_file_that_has_gone(server, done):
    shutil.copy(folder(server) / SAVED, folder(server) / "gone.safetensors")
    number = saved(server)["gone.safetensors"]
    assert server.get(f"{MAPS}/saved/{number}")["name"] == "gone.safetensors"
    (folder(server) / "gone.safetensors").unlink()
    with pytest.raises(Refused, match=r"404.*no such head profile"):
        server.get(f"{MAPS}/saved/{number}")


# What nobody asks for in good faith.


def test_maps_are_listed_for_their_workflow_only(server, done):
    assert listed(server, str(uuid.uuid4())) == []
    for query in ("", "?workflow_id=", "?workflow_id=" + 200 * "x"):
        with pytest.raises(Refused, match="400"):
            server.get(MAPS + query)


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
def test_other_origins_are_turned_away_by_comfyui(server, done, headers):
    for end in ("?workflow_id=" + done[0], "/saved", f"/saved/{saved(server)[SAVED]}"):
        status, _, _ = ask(server, "GET", MAPS + end, **headers)
        assert status == 403


def test_no_path_leads_anywhere_else(server, done):
    """Two thousand paths of odd parts, in place of ids and behind them; names of files among them."""
    number = saved(server)[SAVED]
    odd = [*PARTS, SAVED, urllib.parse.quote(SAVED), f"..%2fhead_profiles%2f{SAVED}", number.upper(), number[:31]]
    for path, _, body in ask_odd_paths(server, MAPS, ("saved", number), odd):  # the list or the map
        assert {"saved"} == json.loads(body).keys() or json.loads(body)["name"] == SAVED, path
    assert "Error handling request" not in server.log


def test_the_server_has_not_suffered(server, done):
    assert contents(listed(server, done[0])) == contents(done[1])
