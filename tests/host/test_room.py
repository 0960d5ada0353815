"""Videos that cannot fit are refused before anything is allocated; stop is heard between the layers of a pass."""

import re
import resource

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.host import video_memory
from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld


@pytest.fixture
def toy(host, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    return model, *ToyWorld.execute("a red circle moving right").args[:2]


def stream(toy, width=96, height=96, length=21, **options):
    return StreamARVideo.PREPARE_CLASS_CLONE(None).execute(*toy, width, height, length, 1, **options)


def test_a_stream_that_takes_the_machine_down_is_refused_with_a_size_that_fits(toy, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DummyForcingError, match="the computer has") as error:
        stream(toy, 8192, 4096, start=torch.rand(1, 96, 96, 3), length=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10  # KiB
    assert not list((tmp_path / "temp").rglob("*.mp4"))
    width, height = map(int, re.search(r"use at most (\d+) x (\d+) pixels", str(error.value)).groups())
    assert width % 16 == height % 16 == 0 and width > height > 256


def test_the_size_that_is_advised_is_accepted(toy, monkeypatch):
    monkeypatch.setattr(video_memory, "free_bytes", lambda device: 40 * 2**20)
    with pytest.raises(DummyForcingError) as error:
        stream(toy, 192, 96)
    width, height = map(int, re.search(r"use at most (\d+) x (\d+) pixels", str(error.value)).groups())
    assert stream(toy, width, height, 9).args[1]["samples"].shape[2] == 3


@pytest.mark.parametrize("sampler", ["core_sampler", "our_sampler"])
@pytest.mark.parametrize("patched", [True, False])
def test_every_sampler_asks_first(golden_model, sample, monkeypatch, sampler, patched, request):
    if sampler == "core_sampler" and not patched:
        return  # it has nothing of ours
    model = door.with_memory(golden_model, MemoryConfig()) if patched else golden_model
    monkeypatch.setattr(video_memory, "free_bytes", lambda device: 2**10)
    with pytest.raises(DummyForcingError, match=r"this video needs .* and the computer has 1.0 KiB"):
        sample(model, request.getfixturevalue(sampler)(), frames=6)


def interrupt_in(module, host):
    """Press stop in this layer; returns what has been called since."""
    seen = []

    def press(*given):
        seen.append(module)
        host.interrupt_current_processing()

    module.register_forward_hook(press)
    return seen


def test_stop_is_heard_before_the_next_layer(golden_model, sample, host):
    blocks = golden_model.model.diffusion_model.blocks
    pressed, after = interrupt_in(blocks[1].ffn, host), []
    blocks[2].ffn.register_forward_hook(lambda *given: after.append(given))
    with pytest.raises(host.InterruptProcessingException):
        sample(golden_model, ARStreamingSampler(3), frames=6)
    assert len(pressed) == 1 and not after


def test_stop_is_heard_while_a_chunk_is_decoded(toy, host):
    layers = toy[2].first_stage_model.decoder.upsamples
    pressed, after = interrupt_in(layers[0].residual[2], host), []
    layers[1].residual[2].register_forward_hook(lambda *given: after.append(given))
    with pytest.raises(host.InterruptProcessingException):
        stream(toy)
    assert len(pressed) == 1 and not after
