"""Live streams over HTTP: what a browser gets, and what anybody else does not."""

import http.client
import io
import json
import uuid
from itertools import count

import pytest
from frame_packs import unpack

from dummy_forcing.nodes.live.live_streams import EVENT

from .comfy_server import Refused
from .conftest import PACK, Workflow
from .odd_paths import PARTS, ask, ask_odd_paths

STREAMS = "/dummy_forcing/streams"
NODE, WORLD = "5", "3"  # in the workflow
CHUNKS, FRAMES = 3, 33
fresh_seed = count(5000).__next__


@pytest.fixture(scope="module")
def prompt():
    """A function that gives a prompt of so many frames."""
    workflow = Workflow(PACK / "workflows" / "api" / "toy_world_streaming.json")

    def make(length: int) -> dict:
        made = workflow.prompt(fresh_seed(), length=length)
        assert made[NODE]["class_type"] == "DummyForcingStreamVideo"
        made[NODE]["inputs"]["clip"] = [WORLD, 2]
        return made

    return make


@pytest.fixture(scope="module")
def done(server, prompt):
    """A run that is over and its stream's state."""
    workflow_id = str(uuid.uuid4())
    run = server.run(prompt(FRAMES), workflow_id)
    assert run.status == "execution_success", run.error
    (state,) = listed(server, workflow_id)
    return run, state


def listed(server, workflow_id):
    return server.get(f"{STREAMS}?workflow_id={workflow_id}")["streams"]


def content(state):
    """All but when a node got it, which ComfyUI says once a run has ended."""
    return {name: value for name, value in state.items() if name != "served"}


def path_of(state):
    return f"{STREAMS}/{state['prompt_id']}/{state['id']}"


def test_a_stream_is_told_chunk_by_chunk(done):
    run, state = done
    news = [event.data for event in run.events if event.type == EVENT]
    made = [sum(chunks * frames for chunks, frames in each["runs"]) for each in news]
    assert set(made) == {0, 9, 21, 33} and made == sorted(made)
    assert [each["status"] for each in news][-1] == "finished" == state["status"]
    assert state["prompt_id"] == run.prompt_id and state["node_id"] == NODE
    assert state["kv_bytes"] > 0 and state["fps"] > 0
    assert state["prompts"] == [{"chunk": 0, "text": "a yellow triangle moving left and a cyan circle moving down"}]


def test_the_chunks_are_the_frames_of_the_file(server, done):
    import av
    import numpy as np
    from PIL import Image

    run, state = done
    chunks = [unpack(server.get_bytes(f"{path_of(state)}/chunks/{index}")) for index in range(CHUNKS)]
    assert [len(chunk) for chunk in chunks] == [9, 12, 12]
    (item,) = run.executed[NODE]["video"]
    with av.open(io.BytesIO(server.view(item))) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = [np.asarray(Image.open(io.BytesIO(file))) for chunk in chunks for file in chunk]
    for one, other in zip(found, expected, strict=True):
        assert abs(one.astype(float) - other).mean() < 6  # both are lossy


def test_a_prompt_and_stop_reach_a_run_under_way(server, prompt):
    told = []

    def act(event, run):
        if event.type != EVENT or event.data["prompt_id"] != run.prompt_id:
            return
        chunks = sum(chunks for chunks, _ in event.data["runs"])
        if chunks == 1 and not told:
            told.append(server.post(path_of(event.data) + "/prompt", {"text": "a red square moving up"}))
        if chunks == 3 and len(told) == 1:
            told.append(server.post(path_of(event.data) + "/stop", {}))

    run = server.run(prompt(321), str(uuid.uuid4()), on_event=act)
    assert run.status == "execution_success", run.error
    state = [event.data for event in run.events if event.type == EVENT][-1]
    assert state["status"] == "stopped"
    assert state["prompts"][-1]["text"] == "a red square moving up" and state["prompts"][-1]["chunk"] in (1, 2)
    assert 3 <= sum(chunks for chunks, _ in state["runs"]) <= 4
    with pytest.raises(Refused, match=r"409.*over"):
        server.post(path_of(state) + "/stop", {})
    with pytest.raises(Refused, match=r"409.*over"):
        server.post(path_of(state) + "/prompt", {"text": "too late"})


def test_streams_are_listed_for_their_workflow_only(server, done):
    _, state = done
    assert [each["id"] for each in listed(server, state["workflow_id"])] == [state["id"]]
    assert listed(server, str(uuid.uuid4())) == []
    for query in ("", "?workflow_id=", "?workflow_id=" + 200 * "x"):
        with pytest.raises(Refused, match="400"):
            server.get(STREAMS + query)


def test_what_comes_out_of_the_cache_is_shown_in_the_other_graph_too(server, prompt):
    """The same template opened twice: ComfyUI runs its nodes once."""
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    same = prompt(9)
    made = [server.run(same, workflow_id) for workflow_id in (first, second)]
    assert NODE in made[0].executed and not [e for e in made[1].events if e.type == EVENT]  # nothing was made anew
    (state,), (shown,) = listed(server, first), listed(server, second)
    assert content(shown) == content({**state, "workflow_id": second}) and shown["served"] > state["started"]
    assert unpack(server.get_bytes(f"{path_of(shown)}/chunks/0"))


def test_an_id_of_another_prompt_finds_nothing(server, done):
    _, state = done
    for end in ("", "/chunks/0"):
        with pytest.raises(Refused, match="404"):
            server.get_bytes(f"{STREAMS}/{uuid.uuid4()}/{state['id']}{end}")


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
@pytest.mark.parametrize("end", ["", "/chunks/0", "/prompt", "/stop"])
def test_other_origins_are_turned_away_by_comfyui(server, done, headers, end):
    method, body = ("POST", b"{}") if end in ("/prompt", "/stop") else ("GET", None)
    status, _, _ = ask(server, method, path_of(done[1]) + end, body, Content_Type="application/json", **headers)
    assert status == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_bodies_that_any_page_could_send_are_refused(server, done, kind):
    status, _, _ = ask(server, "POST", path_of(done[1]) + "/stop", b"{}", Content_Type=kind)
    assert status == 415


BODIES = [
    b"", b"null", b"[]", b"3", b'"text"', b"{", b"\xff\xfe", b"[" * 20_000, b'{"text":' * 3000, b"{}",
    b'{"text": 3}', b'{"text": null}', b'{"text": ""}', b'{"text": "  "}', b'{"text": ["a"]}',
    json.dumps({"text": "x" * 4001}).encode(), json.dumps({"text": "x" * 100_000}).encode(), b" " * 2_000_000,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_prompt_that_is_none_is_refused(server, done, body):
    status, _, answer = ask(server, "POST", path_of(done[1]) + "/prompt", body, Content_Type="application/json")
    assert status in (400, 413)
    assert json.loads(answer)["error"]


def test_a_body_without_end_is_cut_off(server, done):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    pieces = (b"x" * 4096 for _ in range(100))
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    connection.request("POST", path_of(done[1]) + "/prompt", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_no_path_leads_anywhere_else(server, done):
    """Two thousand paths of odd parts, in place of ids and numbers and behind them."""
    _, state = done
    parts = (state["prompt_id"], state["id"], "chunks", "0")
    for _, headers, body in ask_odd_paths(server, STREAMS, parts, PARTS):
        # A number written otherwise, or the state.
        if headers["Content-Type"] == "application/octet-stream":
            assert headers["X-Content-Type-Options"] == "nosniff" and unpack(body)
    assert not [line for line in server.log.splitlines() if "Error handling request" in line]


def test_ids_of_any_length_find_nothing(server, done):
    _, state = done
    for length in (1, 21, 23, 1000, 6000):
        status, _, _ = ask(server, "GET", f"{STREAMS}/{state['prompt_id']}/{'x' * length}")
        assert status == 404


def test_the_server_has_not_suffered(server, done):
    _, state = done
    assert content(server.get(path_of(state))) == content(state)
    assert unpack(server.get_bytes(f"{path_of(state)}/chunks/2"))
