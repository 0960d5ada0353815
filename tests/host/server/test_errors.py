"""What ComfyUI hands on of our errors: its frontends show the type and the beginning of the message."""

import json
import re

import pytest

from .conftest import PACK

WORKFLOWS = PACK / "workflows" / "api"
TYPE = "dummy_forcing.DummyForcingError"


@pytest.mark.parametrize(
    ("name", "node", "inputs", "begins"),
    [
        ("toy_world_streaming", "DummyForcingStreamVideo", {"length": 10}, "use 9 or 21: a length of 10 frames"),
        ("toy_world_streaming", "DummyForcingToyWorld", {"prompt": "a red"}, "write for example 'a yellow"),
        # One that a node of ComfyUI's raises, in which our code runs:
        ("toy_world_window_and_sampler", "DummyForcingStreamingSampler", {"chunk_frames": 7}, "use a size of at"),
    ],
)
def test_an_error_begins_with_what_to_do(server, name, node, inputs, begins):
    prompt = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    for each in prompt.values():
        if each["class_type"] == "DummyForcingStreamVideo":
            each["inputs"]["length"] = 9
        if each["class_type"] == node:
            each["inputs"] |= inputs
    (error,) = server.run(prompt).of("execution_error")
    assert error["exception_type"] == TYPE
    assert error["exception_message"].startswith(begins)
    assert str(server.folder) not in error["exception_message"]


def test_the_browser_knows_our_errors_by_that_type():
    source = (PACK / "web" / "errors" / "extension.js").read_text("utf-8")
    assert re.search(r'OURS = "(.+?)"', source)[1] == TYPE
