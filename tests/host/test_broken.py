"""Weights, latents and decoders that turn into NaN: an error at the first chunk, no black video."""

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media.video_file import read_video
from dummy_forcing.nodes import host as comfyui_host
from dummy_forcing.nodes.patches.model_patch import ModelPatch
from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld

NAN = float("nan")
OF_CHUNK = "NaN or infinite numbers in chunk {}.*float16"


@pytest.fixture
def toy(host, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    return model, *ToyWorld.execute("a red circle moving right").args[:2]


def stream(toy, length=21, **options):
    return StreamARVideo.PREPARE_CLASS_CLONE(None).execute(*toy, 96, 96, length, 1, **options)


def spoil_after(model, passes):
    """The head's output is NaN from so many passes on."""
    calls = []

    def spoil(module, given, output):
        calls.append(None)
        return output * NAN if len(calls) > passes else output

    return model.model.diffusion_model.head.head.register_forward_hook(spoil)


def test_the_chunks_before_stay_in_the_file_that_the_error_names(toy, tmp_path):
    spoil_after(toy[0], 5)
    with pytest.raises(DummyForcingError, match=r"in chunk 1.*the 9 frames before it are in .*\.mp4\); .*float16"):
        stream(toy)
    (file,) = (tmp_path / "temp").rglob("*.mp4")
    assert len(read_video(file)[0]) == 9


def test_nothing_is_left_where_no_chunk_was_made(toy, tmp_path):
    spoil_after(toy[0], 0)
    with pytest.raises(DummyForcingError, match=OF_CHUNK.format(0)):
        stream(toy)
    assert not list((tmp_path / "temp").rglob("*.mp4"))


def test_a_decoder_and_a_start_that_are_no_numbers_are_named(toy):
    picture, latent = torch.full((9, 96, 96, 3), NAN), {"samples": torch.full((1, 16, 3, 12, 12), NAN)}
    for name, given in (("start", picture), ("start", latent), ("source", picture), ("source", latent)):
        with pytest.raises(DummyForcingError, match=f"the {name}.* NaN or infinite numbers in it; run the node"):
            stream(toy, **{name: given}, length=0)
    toy[2].first_stage_model.decoder.conv1.weight[:] = NAN
    with pytest.raises(DummyForcingError, match="the decoder turned valid latents into NaN"):
        stream(toy)


@pytest.mark.parametrize("sampler", ["core_sampler", "our_sampler"])
def test_other_samplers_stop_too(golden_model, sample, sampler, request):
    spoil_after(golden_model, 0)
    patched = comfyui_host.with_patch(golden_model, ModelPatch())
    with pytest.raises(DummyForcingError, match=OF_CHUNK.format(0)):
        sample(patched, request.getfixturevalue(sampler)(), frames=6)


def test_an_unpatched_model_stops_in_our_sampler(golden_model, sample):
    spoil_after(golden_model, 0)
    with pytest.raises(DummyForcingError, match=OF_CHUNK.format(0)):
        sample(golden_model, ARStreamingSampler(3), frames=6)
