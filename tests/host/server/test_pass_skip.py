"""AR Pass Skip through the server: its choice of rule brings inputs of its own, which the host puts together."""

import json

import pytest

from .conftest import PACK

WORKFLOW = PACK / "workflows" / "api" / "toy_world_streaming.json"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"skip": "these passes", "skip.passes": "1,3"}, "of 20 passes skipped"),
        ({"skip": "small changes (TeaCache)", "skip.threshold": 0.2}, "of 20 passes skipped"),
        ({"skip": "these passes", "skip.passes": "0"}, "list passes from 1 on"),
    ],
)
def test_both_rules_run(server, rule, said):
    prompt = json.loads(WORKFLOW.read_text("utf-8"))
    (stream,) = (key for key, node in prompt.items() if node["class_type"] == "DummyForcingStreamVideo")
    prompt["skip"] = {
        "class_type": "DummyForcingPassSkip",
        "inputs": {"model": prompt[stream]["inputs"]["model"], **rule},
    }
    prompt[stream]["inputs"] |= {"model": ["skip", 0], "length": 45}
    prompt["report"] = {"class_type": "PreviewAny", "inputs": {"source": [stream, 2]}}
    run = server.run(prompt)
    assert said in json.dumps([run.error, server.history(run.prompt_id)])
