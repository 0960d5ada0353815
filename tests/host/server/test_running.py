"""The workflows that need no download, run through the server."""

import io
import re
import time
from itertools import count

import pytest

IMAGES = {"png", "webp", "jpg", "jpeg", "gif"}
SUCCESS, INTERRUPTED = "execution_success", "execution_interrupted"
LARGE = 192  # pixels a side: four passes take longer than a request, on a fast machine too

fresh_seed = count(1000).__next__


def decode(name: str, data: bytes) -> tuple[int, int, int]:
    """Frames, height and width of an image or a video, after decoding all of it."""
    if name.rsplit(".")[-1].lower() in IMAGES:
        from PIL import Image

        image = Image.open(io.BytesIO(data))
        image.load()
        return getattr(image, "n_frames", 1), image.height, image.width
    import av

    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(video=0))
    return len(frames), frames[0].height, frames[0].width


def test_runs_and_its_outputs_decode(server, workflow):
    run = server.run(workflow.prompt(fresh_seed()))
    assert run.status == SUCCESS, run.error
    files = server.files(run.prompt_id)
    assert files
    for name, data in files.items():
        assert min(decode(name, data)) > 0


def test_says_how_far_it_is(server, workflow):
    run = server.run(workflow.prompt(fresh_seed()))
    assert run.progress and run.previews
    assert any(re.fullmatch(r"chunk (\d+)/\1 · [\d.]+ DiT FPS · KV [\d.]+ MiB", text) for _, text in run.texts)
    for preview in run.previews:
        assert preview["node_id"] and min(decode("preview.jpg", preview["image"])) > 0


def test_two_prompts_in_a_row(server, workflow):
    first, second = (server.queue(workflow.prompt(fresh_seed())) for _ in range(2))
    assert [server.follow(prompt_id).status for prompt_id in (first, second)] == [SUCCESS, SUCCESS]


def test_interrupt_stops_within_one_pass(server, workflow):
    """One pass may be under way when the server answers, and one report on its way to us."""
    answered = []

    def interrupt_once(event, run):
        if event.type == "progress" and not answered:
            server.interrupt()
            answered.append(time.monotonic())

    run = server.run(workflow.prompt(fresh_seed(), width=LARGE, height=LARGE), on_event=interrupt_once)
    assert run.status == INTERRUPTED
    assert sum(event.type == "progress" and event.seconds > answered[0] for event in run.events) <= 2
    after = server.run(workflow.prompt(fresh_seed()))
    assert after.status == SUCCESS, after.error


@pytest.mark.heavy
def test_memory_does_not_grow(server, workflow):
    """The first runs fill the allocators; twenty more must not leave more than noise behind."""

    def bytes_after(runs: int) -> int:
        for _ in range(runs):
            assert server.run(workflow.prompt(fresh_seed(), length=33)).status == SUCCESS
        server.free()
        return server.rss

    before = bytes_after(5)
    grown = bytes_after(20) - before
    print(f"{workflow.name}: {grown / 2**20:.1f} MiB more after 20 runs")
    assert grown < 32 * 2**20
