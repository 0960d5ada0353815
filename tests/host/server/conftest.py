"""One server for all tests of this folder, and the workflows that it can run."""

import copy
import json
from pathlib import Path

import pytest

from .comfy_server import ComfyServer

PACK = Path(__file__).resolve().parents[3]
SEEDS = ("seed", "noise_seed")


@pytest.fixture(scope="session")
def server(comfyui, tmp_path_factory):
    with ComfyServer(comfyui, PACK, tmp_path_factory.mktemp("comfy")) as running:
        yield running


@pytest.fixture(scope="session")
def node_classes():
    """The pack's nodes by id, from the extension that ComfyUI asks."""
    import asyncio

    from dummy_forcing.nodes.extension import DummyForcingExtension

    classes = asyncio.run(DummyForcingExtension().get_node_list())
    return {cls.define_schema().node_id: cls for cls in classes}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`workflow` runs over the API workflows that need no download; none of them, no case."""
    if "workflow" in metafunc.fixturenames:
        paths = sorted((PACK / "workflows" / "api").glob("toy_world*.json"))
        metafunc.parametrize("workflow", [Workflow(path) for path in paths], ids=[path.stem for path in paths])


class Workflow:
    """A workflow in API format that gives a fresh prompt for each seed, so that nothing comes from the cache."""

    def __init__(self, path: Path):
        self.name = path.stem
        self._prompt = json.loads(path.read_text("utf-8"))

    def prompt(self, seed: int, **values: int) -> dict:
        """`values`: further numbers by the name of the input, for every node that has it."""
        values |= dict.fromkeys(SEEDS, seed)
        prompt = copy.deepcopy(self._prompt)
        for node in prompt.values():
            inputs = node["inputs"]
            inputs |= {name: value for name, value in values.items() if isinstance(inputs.get(name), int)}
        return prompt
