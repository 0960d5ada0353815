"""Every family: from the file as it is published to two chunks of video, in plain core."""

import pytest
import torch
from published_layouts import PUBLISHED, SHAPE, backbone_state, diffusers, name_of, prefixed

from dummy_forcing.core.checkpoints.families.running import family_loop, family_memory
from dummy_forcing.core.checkpoints.families.table import FAMILIES
from dummy_forcing.core.checkpoints.layouts.normal import normalise
from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WAN_1_3B, WAN_14B

published_files = pytest.mark.parametrize("published", PUBLISHED, ids=name_of)


@pytest.fixture(scope="module")
def state():
    return backbone_state()


@published_files
def test_detection_and_loading(tmp_path, state, published):
    path, lora = published.save(tmp_path, tmp_path, state)
    model = open_checkpoint(path, lora=lora)
    assert model.family.name == published.family
    assert model.reason
    assert model.backbone.shape == SHAPE
    found, expected = model.backbone.state_dict(), published.expected(state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-6)
        assert torch.equal(found[name], value) or not torch.equal(value, state[name])  # only LoRAs may round


def test_every_family_is_tried():
    assert {each.family for each in PUBLISHED} == FAMILIES.keys() - {"toy-world"}


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "toy-world"])
def test_two_chunks(tmp_path, state, name):
    published = next(each for each in PUBLISHED if each.family == name)
    path, lora = published.save(tmp_path, tmp_path, state)
    model = open_checkpoint(path, lora=lora)
    family = model.family
    config = StreamConfig(
        sigmas=family.sigmas,
        chunk_frames=family.chunk_frames,
        total_frames=2 * family.chunk_frames,
        latent_size=(4, 6),
        memory=family_memory(family),
        **family_loop(family).options(family.sigmas),
    )
    text = torch.randn(1, 5, SHAPE.text_dim, generator=torch.Generator().manual_seed(2))
    events = list(stream_video(model.backbone, text, config, SeededNoise(0)))
    chunks = [event.latents for event in events if isinstance(event, ChunkDone)]
    assert [chunk.shape for chunk in chunks] == [(1, 16, family.chunk_frames, 4, 6)] * 2
    assert all(chunk.isfinite().all() and chunk.std() > 0.01 for chunk in chunks)


def test_a_family_chosen_by_hand(tmp_path, state):
    path, _ = PUBLISHED[0].save(tmp_path, tmp_path, state)
    model = open_checkpoint(path, family="infinity-rope")
    assert (model.family.window, model.family.rope, model.reason) == (6, "relative", "it was chosen by hand")


@pytest.mark.parametrize("layout", [dict, diffusers, lambda state: prefixed(state, "model.")])
@pytest.mark.parametrize(("shape", "count"), [(WAN_1_3B, 825), (WAN_14B, 1095)])
def test_the_real_sizes(layout, shape, count):
    with torch.device("meta"):
        sizes = CausalWan(shape).state_dict()
    state = {name: torch.zeros(1).expand(value.shape) for name, value in sizes.items()}
    normal = normalise(layout(state), {}, "it")
    assert normal.shape == shape
    assert list(normal.state) == list(sizes) and len(sizes) == count
