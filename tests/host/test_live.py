"""What browsers get to know of a video, without a browser: chunks, state, another prompt, stop."""

import io
import time

import numpy as np
import pytest
import torch
from frame_packs import unpack
from numbered_frames import numbered, read_number
from PIL import Image

from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.prompt_times import PromptPlan, parse_time
from dummy_forcing.core.stream.tally import Standing
from dummy_forcing.nodes.live import live_video
from dummy_forcing.nodes.live.live_prompts import encode, prompt_marks
from dummy_forcing.nodes.live.live_stream import PromptMark, StreamPlace, StreamSize
from dummy_forcing.nodes.live.live_streams import LiveStreams
from dummy_forcing.nodes.live.live_view import LiveView
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.prompt_texts import find_later_texts, find_text
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyCLIP, ToyWorld

PLACE = StreamPlace("prompt", "5", "workflow")
SIZE = StreamSize(128, 64, 16, chunks=200, frames=2397)
STANDING = Standing(chunks=200, chunks_done=1, passes_done=5, dit_fps=12.5, kv_bytes=2**20)


def made_in(streams, workflow_id="workflow"):
    """Streams of the nodes of a workflow."""
    return [streams.find(state["prompt_id"], state["id"]) for state in streams.states_of(workflow_id)]


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(tmp_path, told):
    """A function that makes a registry; what it tells browsers is in `told`."""
    return lambda **limits: LiveStreams(lambda: tmp_path / "live", told.append, **limits)


@pytest.fixture
def streams(make):
    return make()


def numbers_in(stream, chunk):
    files = unpack(stream.chunk_file(chunk).read_bytes())
    return [read_number(np.asarray(Image.open(io.BytesIO(file)))) for file in files]


def test_no_frame_is_lost_or_doubled_over_200_chunks(streams, told):
    stream, at = streams.open(PLACE, SIZE), 0
    for chunk in range(200):
        count = 12 if chunk else 9
        stream.add_chunk(numbered(at, count), STANDING)
        at += count
    stream.close("finished")
    state = stream.state()
    assert state["runs"] == [[1, 9], [199, 12]] and state["status"] == "finished"
    assert [number for chunk in range(200) for number in numbers_in(stream, chunk)] == list(range(2397))
    made = [sum(chunks * frames for chunks, frames in news["runs"]) for news in told]
    assert made == sorted(made) and made[-1] == 2397
    assert [news["revision"] for news in told] == sorted({news["revision"] for news in told})


def test_a_chunk_can_be_fetched_within_a_second(streams, told):
    stream = streams.open(PLACE, SIZE)
    seconds = []
    for chunk in range(1, 4):  # other work on the machine may hold up one of them
        began = time.monotonic()
        stream.add_chunk(torch.rand(12, 480, 832, 3), STANDING)
        while sum(chunks for chunks, _ in told[-1]["runs"]) < chunk:
            time.sleep(0.005)
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 1
    assert len(unpack(stream.chunk_file(0).read_bytes())) == 12
    stream.close("finished")


def test_the_state_of_an_hour_is_small(streams):
    import json

    stream = streams.open(PLACE, SIZE, [PromptMark(0, "one")])
    stream._chunks = [(9, 1)] + [(12, 1)] * 4799
    for chunk in range(1000):
        stream.prompt_changed("a red circle moving left", chunk)
    assert len(json.dumps(stream.state())) < 20_000
    stream.prompt_changed(10_000 * "long", 1000)
    stream.prompt_refused(10_000 * "long")
    assert len(json.dumps(stream.state())) < 20_000
    stream.close("stopped")


def test_the_disk_is_bounded_and_the_oldest_goes_first(make):
    streams = make(most_bytes=60_000)
    old, new = streams.open(PLACE, SIZE), streams.open(PLACE, SIZE)
    noise = torch.rand(3, 64, 128, 3)
    old.add_chunk(noise, STANDING)
    old.close("finished")
    for _ in range(10):
        new.add_chunk(noise, STANDING)
    new.close("finished")
    assert streams.find("prompt", old.id) is None
    assert new.bytes <= 60_000
    first = new.state()["first_chunk"]
    assert 0 < first < 10
    assert [new.chunk_file(index) is not None for index in range(11)] == [
        first <= index < 10 for index in range(11)
    ]
    assert sum(file.stat().st_size for file in new.chunk_file(9).parent.parent.rglob("*.pack")) == new.bytes


def test_many_streams_are_forgotten_those_under_way_are_not(make):
    streams = make(most_streams=3)
    running = streams.open(PLACE, SIZE)
    for _ in range(10):
        streams.open(PLACE, SIZE).close("finished")
    kept = made_in(streams)
    assert len(kept) == 3 and kept[0] is running
    running.close("stopped")


def test_streams_are_found_by_prompt_and_id_only(streams):
    stream = streams.open(PLACE, SIZE)
    assert streams.find("prompt", stream.id) is stream
    assert streams.find("other", stream.id) is None and streams.find("prompt", "5") is None
    assert made_in(streams, "other") == []
    assert len({streams.open(PLACE, SIZE).id for _ in range(50)}) == 50
    assert len(stream.id) == 22


def test_a_full_disk_ends_the_view_not_the_video(tmp_path, told):
    (tmp_path / "file").write_text("in the way")
    stream = LiveStreams(lambda: tmp_path / "file", told.append).open(PLACE, SIZE)
    for _ in range(3):
        stream.add_chunk(numbered(0, 2), STANDING)
    stream.close("finished")
    assert stream.state()["broken"] == "Not a directory"
    assert stream.state()["runs"] == []


def test_a_prompt_is_taken_once_and_the_last_counts(streams):
    stream = streams.open(PLACE, SIZE, [PromptMark(0, "first")])
    stream.change_prompt("second")
    stream.change_prompt("third")
    assert stream.state()["prompt_asked"] == "third"
    assert stream.take_prompt() == "third" and stream.take_prompt() is None
    stream.prompt_changed("third", 4)
    assert stream.state()["prompts"] == [{"chunk": 0, "text": "first"}, {"chunk": 4, "text": "third"}]
    stream.close("finished")
    assert stream.change_prompt("too late") == "over"


GRAPH = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red circle", "clip": ["9", 0]}},
    "2": {"class_type": "Combine", "inputs": {"one": ["1", 0], "strength": 0.5}},
    "3": {"class_type": "PrimitiveString", "inputs": {"value": "a blue square"}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"text": ["3", 0]}},
    "6": {
        "class_type": "DummyForcingPromptSchedule",
        "inputs": {"prompts.prompt_0": ["4", 0], "prompts.prompt_1": ["8", 0], "times": "1s, chunk 4"},
    },
    "7": {"class_type": "Loop", "inputs": {"x": ["7", 0]}},
    "8": {"class_type": "Unknown", "inputs": {}},
    "5:5": {"class_type": "DummyForcingStreamVideo", "inputs": {"positive": ["2", 0], "prompts": ["6", 0]}},
}


def test_the_words_of_prompts_are_found_up_the_wires():
    assert find_text(GRAPH, "5:5", "positive") == "a red circle"
    assert find_later_texts(GRAPH, "5:5", 2) == ["a blue square", None]
    assert find_text(GRAPH, "7", "x") is None
    assert find_text(None, "5", "positive") is None and find_text(GRAPH, "55", "positive") is None
    assert find_later_texts({}, "5", 1) == [None]
    odd = {"5": {"inputs": {"positive": [["1"], 0], "prompts": [{}, 0]}}}
    assert find_text(odd, "5", "positive") is None and find_later_texts(odd, "5", 1) == [None]


def test_scheduled_prompts_stand_at_the_chunk_in_which_they_begin():
    config = StreamConfig((1.0, 0.0), 3, 21, (12, 12), memory=MemoryConfig())
    times = tuple(map(parse_time, ("0.5s", "1s", "chunk 4")))
    plan = PromptPlan(times, (torch.zeros(1, 1, 1),) * 3, None)
    marks = prompt_marks("first", ["a", None, "c"], plan, config)
    assert marks == [
        PromptMark(0, "first"),
        PromptMark(0, "a"),
        PromptMark(1, None),
        PromptMark(4, "c"),
    ]


# On the toy world.


@pytest.fixture
def toy(host):
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    return model, *ToyWorld.execute("a red circle moving right").args


@pytest.fixture
def watched(tmp_path, monkeypatch, streams):
    """The registry that the node uses."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    monkeypatch.setattr(live_video, "STREAMS", streams)
    return streams


def node(unique_id, extra):
    """The node as ComfyUI prepares it for a run."""
    from comfy_api.latest._io import Hidden

    hidden = {Hidden.unique_id: unique_id, Hidden.extra_pnginfo: extra}
    return StreamARVideo.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})


def run(toy, length, clip=None):
    return node("5", {"workflow": {"id": "workflow"}}).execute(*toy[:3], 0, 0, length, 1, clip=clip)


@pytest.fixture
def between_chunks(monkeypatch, watched):
    """Calls of (stream,) by the number of chunks finished."""
    calls, show = {}, LiveView.show_frames

    def show_frames(self, frames, standing):
        (stream,) = made_in(watched)
        calls.pop(standing.chunks_done, lambda stream: None)(stream)
        show(self, frames, standing)

    monkeypatch.setattr(LiveView, "show_frames", show_frames)
    return calls


def test_a_prompt_typed_in_the_run_is_one_of_the_schedule(toy, watched, between_chunks, tmp_path):
    between_chunks[1] = lambda stream: stream.change_prompt("a blue square moving up")
    typed = run(toy, 33, ToyCLIP()).args[1]["samples"]
    (stream,) = made_in(watched)
    assert stream.state()["prompts"][-1] == {"chunk": 1, "text": "a blue square moving up"}
    assert stream.state()["runs"] == [[1, 9], [2, 12]]
    other = ToyWorld.execute("a blue square moving up").args[0][0][0]
    plan = PromptPlan((parse_time("chunk 1"),), (other,), None)
    scheduled = node("6", None).execute(*toy[:3], 0, 0, 33, 1, prompts=plan).args[1]["samples"]
    torch.testing.assert_close(typed, scheduled, atol=0, rtol=0)


def test_words_that_cannot_be_encoded_leave_the_video_as_it_is(toy, watched, between_chunks):
    between_chunks[1] = lambda stream: stream.change_prompt("a dragon")
    assert run(toy, 21, ToyCLIP()).args[1]["samples"].shape[2] == 6
    (stream,) = made_in(watched)
    assert "dragon" in stream.state()["prompt_refused"] and stream.state()["status"] == "finished"


class OtherEncoder(ToyCLIP):
    """That of another model."""

    def encode_from_tokens_scheduled(self, tokens, **options):
        return [[torch.zeros(1, 8, 768), {}]]


class BrokenEncoder(ToyCLIP):
    def encode_from_tokens_scheduled(self, tokens, **options):
        raise AttributeError("of another pack")


@pytest.mark.parametrize(
    ("clip", "said"),
    [(OtherEncoder, "another text encoder: its embedding is 768 wide"), (BrokenEncoder, "of another pack")],
)
def test_no_prompt_typed_in_the_run_ends_the_video(toy, watched, between_chunks, clip, said):
    between_chunks[1] = lambda stream: stream.change_prompt("a blue square moving up")
    assert run(toy, 33, clip()).args[1]["samples"].shape[2] == 9
    (stream,) = made_in(watched)
    assert said in stream.state()["prompt_refused"] and stream.state()["status"] == "finished"


def test_stop_keeps_the_finished_chunks_and_nobody_else_is_stopped(toy, host, watched, between_chunks):
    between_chunks[2] = lambda stream: stream.ask_stop()
    assert run(toy, 81).args[1]["samples"].shape[2] == 6
    (stream,) = made_in(watched)
    assert stream.state()["status"] == "stopped" and stream.state()["runs"] == [[1, 9], [1, 12]]
    assert not host.processing_interrupted()


def test_without_a_clip_no_prompt_is_taken(toy, watched, between_chunks):
    answers = []
    between_chunks[1] = lambda stream: answers.append(stream.change_prompt("a blue square moving up"))
    run(toy, 9)
    assert answers == ["no_clip"]


def test_an_error_in_the_run_is_the_end_of_its_stream(toy, watched, between_chunks):
    def fail(stream):
        raise ValueError("broken")

    between_chunks[1] = fail
    with pytest.raises(ValueError, match="broken"):
        run(toy, 21)
    (stream,) = made_in(watched)
    assert stream.state()["status"] == "failed"


def test_encoding_brings_back_the_models_that_it_pushed_out(toy, host):
    class Greedy(ToyCLIP):
        def encode_from_tokens_scheduled(self, tokens, **options):
            host.unload_all_models()
            return super().encode_from_tokens_scheduled(tokens)

    host.load_models_gpu([toy[0], toy[2].patcher])
    encode(Greedy(), "a red circle moving left")
    assert {id(model) for model in host.loaded_models()} == {id(toy[0]), id(toy[2].patcher)}
