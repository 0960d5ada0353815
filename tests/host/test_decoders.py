"""Light decoders inside ComfyUI: its own VAE objects, streamed, and which latents each file reads."""

import json
import threading
from functools import partial

import av
import numpy as np
import pytest
import torch
from linear_tae import linear_tae

from dummy_forcing.core.decoders.decode_ahead import DecodeAhead
from dummy_forcing.core.decoders.latent_scale import trial_picture
from dummy_forcing.core.decoders.streaming import LatentScale, StreamingDecoder
from dummy_forcing.core.decoders.tae import TAE, TAEShape
from dummy_forcing.core.decoders.tae_stream import decode_tae_chunk
from dummy_forcing.core.decoders.vae_stream import VAEState
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media.video_file import VideoWriter
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape
from dummy_forcing.nodes.live.live_view import LiveView
from dummy_forcing.nodes.video import decoders, stream_video
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld

RAW, NORMALISED = LatentScale.RAW, LatentScale.NORMALISED
CHUNKINGS = ([1] * 4, [3, 1], [1, 3], [4])


@pytest.fixture
def toy(host, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    return model, *ToyWorld.execute("a red circle moving right").args[:2]


def tae_file(tae):
    """What a file of TAEHV holds: ComfyUI builds the encoder too, from its names."""
    from comfy.taesd.taehv import TAEHV

    whole = TAEHV(latent_channels=16)
    state = {name: torch.zeros_like(value) for name, value in whole.state_dict().items()}
    return state | dict(tae.state_dict())


def load(state, dtype=torch.float32):
    """As Load VAE does."""
    from comfy.sd import VAE

    vae = VAE(sd={name: value.to(dtype) for name, value in state.items()})
    vae.throw_exception_if_invalid()
    return vae


@pytest.fixture(scope="module")
def tae():
    """Random weights in the true layout, strong enough for every layer to count."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tae = TAE(TAEShape()).eval().requires_grad_(False)
    for parameter in tae.parameters():
        parameter *= 2
    return tae


@pytest.fixture
def latents():
    return torch.randn(1, 16, 4, 2, 3, generator=torch.Generator().manual_seed(0))


def streamed(decoder, latents, sizes):
    frames = [decoder.decode(chunk) for chunk in latents.split(sizes, dim=2)]
    decoder.close()
    return torch.cat(frames, dim=1)


def process(latents, out):
    from comfy.latent_formats import Wan21

    form = Wan21()
    return form.process_out(latents) if out else form.process_in(latents)


@pytest.mark.parametrize("sizes", CHUNKINGS, ids=str)
def test_a_tae_streams_as_comfyui_decodes_the_whole_clip(tae, latents, host, sizes):
    """LightTAE: ComfyUI hands a float32 file raw latents, and so do we."""
    vae = load(tae_file(tae))
    whole = vae.decode(process(latents, out=True)).clamp(0, 1)
    found = streamed(StreamingDecoder(vae.first_stage_model), latents, sizes)
    assert whole.shape == (1, 13, 16, 24, 3) and whole.std() > 0.01
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(streamed(StreamingDecoder(tae), latents, sizes), whole, atol=1e-4, rtol=0)


def test_comfyui_takes_a_float16_file_for_hunyuan_video_s(tae, latents, host):
    """Why files of TAEHV are not told by the type of their weights: 0.476986 is HunyuanVideo's scale."""
    from comfy.latent_formats import HunyuanVideo

    vae, raw = load(tae_file(tae), torch.float16), process(latents, out=True)
    module = vae.first_stage_model
    assert vae.decode(raw).clamp(0, 1).std() > 0.01
    scaled = decode_tae_chunk(module, HunyuanVideo().process_in(raw).to(vae.vae_dtype), VAEState())
    torch.testing.assert_close(vae.decode(raw), scaled.movedim(1, -1).float(), atol=1e-3, rtol=0)
    right = decode_tae_chunk(module, raw.to(vae.vae_dtype), VAEState()).movedim(1, -1).float()
    assert (vae.decode(raw) - right).abs().max() > 0.1


@pytest.mark.parametrize("sizes", CHUNKINGS[:2], ids=str)
def test_light_vae_streams_as_comfyui_decodes_the_whole_clip(latents, host, sizes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = load(WanVAE(WanVAEShape(width=24)).state_dict())
    assert vae.latent_channels == 16
    whole = vae.decode(process(latents, out=True))
    found = streamed(StreamingDecoder(vae.first_stage_model), latents, sizes)
    assert whole.std() > 0.01
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=0)


def fitted(toy, scale):
    """A TAEHV decoder that paints what the toy world's VAE shows, of latents of this scale."""
    model, _, vae = toy
    raw = vae.encode(trial_picture()[0])
    frames = vae.decode(raw)
    return linear_tae(raw if scale is RAW else model.model.process_latent_in(raw), frames, TAEShape())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("scale", LatentScale)
def test_each_file_is_given_its_latents_whatever_its_type(toy, scale, dtype, caplog):
    """taew2_1 and lighttaew2_1, each as it is published and cast to the other's type."""
    model, _, vae = toy
    decoder = load(tae_file(fitted(toy, scale)), dtype)
    latents = model.model.process_latent_in(vae.encode(trial_picture()[0]))
    found = decoders.light_decoder(decoder, vae, model, 16).decode(latents)
    expected = vae.decode(model.model.process_latent_out(latents))
    assert (found - expected).square().mean() < 0.015  # the other scale: 0.06 and more
    if scale is RAW and dtype is torch.float32:  # the one case that ComfyUI gets right by itself
        own = decoder.decode(model.model.process_latent_out(latents)).clamp(0, 1)
        torch.testing.assert_close(found, own, atol=1e-4, rtol=0)


def test_a_decoder_is_tried_once(toy, monkeypatch):
    model, _, vae = toy
    decoder = load(tae_file(fitted(toy, RAW)))
    decoders.light_decoder(decoder, vae, model, 16)
    monkeypatch.setattr(vae, "encode", pytest.fail)
    decoders.light_decoder(decoder, vae, model, 16)


def frames_of(video):
    with av.open(video.get_stream_source()) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack(frames)).float() / 255


@pytest.fixture
def written(monkeypatch):
    """Frames as they go to the file: the encoder does not make the same of them twice on a busy machine."""
    seen, write = [], VideoWriter.write

    def watched(self, frames):
        seen.append(frames.clone())
        write(self, frames)

    monkeypatch.setattr(VideoWriter, "write", watched)
    return seen


def make(toy, length=21, **options):
    return StreamARVideo.PREPARE_CLASS_CLONE(None).execute(*toy, 0, 0, length, 1, **options).args


def test_the_node_decodes_with_it(toy):
    model, _, vae = toy
    decoder = load(tae_file(fitted(toy, NORMALISED)), torch.float16)
    video, latent, *_ = make(toy, decoder=decoder)
    raw = latent["samples"]
    light = decoders.light_decoder(decoder, vae, model, 16)
    expected = light.decode(model.model.process_latent_in(raw))[0]
    found = frames_of(video)
    assert found.shape == (21, 96, 96, 3)
    assert (found - expected).abs().mean() < 0.03  # through H.264
    assert (found - vae.decode(raw)[0]).abs().mean() < 0.2


def test_previews_of_the_first_chunk_come_from_it(toy, monkeypatch):
    import comfy.utils

    shown = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *report, node_id: shown.append(report[2]))
    decoder = load(tae_file(fitted(toy, RAW)))
    make(toy, length=9, decoder=decoder)
    assert len([preview for preview in shown if preview is not None]) == 5
    assert shown[0][1].size == (96, 96)
    shown.clear()
    make(toy, length=9)
    assert not any(shown)  # ComfyUI's own are off by default


def test_output_beside_sampling_is_the_same(toy, host, monkeypatch, written):
    """As on a GPU: a thread writes and shows a chunk while the next is sampled; a stop keeps what is done."""
    plain = frames_of(make(toy)[0])
    expected = torch.cat(written)
    written.clear()
    monkeypatch.setattr(stream_video, "DecodeAhead", partial(DecodeAhead, overlap=True))
    threads, add = threading.active_count(), LiveView.add
    make(toy)
    assert torch.equal(torch.cat(written), expected)

    def press_stop_in_chunk_1(self, event):
        add(self, event)
        if self.tally.passes == 5 + 2:
            host.interrupt_current_processing()

    monkeypatch.setattr(LiveView, "add", press_stop_in_chunk_1)
    stopped = frames_of(make(toy)[0])
    assert len(stopped) == 9 and (stopped - plain[:9]).abs().mean() < 0.01
    assert threading.active_count() == threads


def test_the_node_under_partial_loading(toy, host, monkeypatch, written):
    """Layers of a decoder that is not on the device as a whole are cast as they are called."""
    decoder = load(tae_file(fitted(toy, RAW)))
    make(toy, length=9, decoder=decoder)
    whole = torch.cat(written)
    written.clear()
    host.unload_all_models()
    load_models, casting, layers = host.load_models_gpu, [], list(decoder.first_stage_model.modules())

    def low_vram(models, *args, **kwargs):
        load_models(models, *args, **kwargs)
        decoder.patcher.partially_unload(decoder.patcher.offload_device, 2**40)
        casting.append(any(getattr(layer, "comfy_cast_weights", False) for layer in layers))

    monkeypatch.setattr(host, "load_models_gpu", low_vram)
    make(toy, length=9, decoder=decoder)
    assert torch.equal(torch.cat(written), whole) and any(casting)


def test_decoders_of_other_latents_are_refused(toy, tae):
    from comfy.taesd.taehv import TAEHV

    model, _, vae = toy
    with pytest.raises(DummyForcingError, match="does not decode this VAE's latents"):
        decoders.light_decoder(load(tae_file(tae)), vae, model, 16)
    wan_2_2 = load(TAEHV(latent_channels=48).state_dict())
    with pytest.raises(
        DummyForcingError, match="the decoder has 48 latent channels, the model 16; use lightvaew2_1"
    ):
        decoders.light_decoder(wan_2_2, vae, model, 16)


def test_what_is_no_decoder(toy):
    model, _, vae = toy
    other = load(tae_file(TAE(TAEShape())))
    other.first_stage_model = torch.nn.Linear(1, 1)
    with pytest.raises(DummyForcingError, match=r"the decoder \(Linear\) cannot decode a stream; use lightvaew2_1"):
        decoders.light_decoder(other, vae, model, 16)


def test_old_workflows_have_all_their_inputs(toy):
    """Those added since come last, and nobody has to connect or set them."""
    added = StreamARVideo.GET_SCHEMA().inputs[-2:]
    assert [(one.id, one.optional) for one in added] == [("decoder", True), ("keep_frames", True)]
    assert all(json.dumps(one.as_dict()) for one in added)
