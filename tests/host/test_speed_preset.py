"""AR Speed Preset on real models: what it sets on them, and what it says."""

import pytest
import torch
from safetensors.torch import save_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.presets import PRESETS
from dummy_forcing.core.stream.tally import format_bytes
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape
from dummy_forcing.nodes.host.patched_models import memory_config, model_patch
from dummy_forcing.nodes.patches.speed_preset import ARSpeedPreset, in_fp8
from dummy_forcing.nodes.video.load_model import AUTO, NO_LORA, TOY_WORLD, open_model
from dummy_forcing.nodes.video.model_facts import model_facts
from dummy_forcing.nodes.video.model_info import ARModelInfoNode
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld


def execute(node, *args, **options):
    """Run a node as the host does: on a clone that has hidden inputs."""
    return node.PREPARE_CLASS_CLONE(None).execute(*args, **options).args


def toy():
    return open_model(TOY_WORLD, AUTO, "default", NO_LORA, 1.0)


def fp8_layers(model):
    from comfy.quant_ops import QuantizedTensor

    blocks = model.get_model_object("diffusion_model").blocks
    return sum(isinstance(part, QuantizedTensor) for part in blocks.parameters())


@pytest.fixture
def light_vae(model_folders):
    """A light VAE with random weights among the user's files."""
    torch.manual_seed(0)
    path = model_folders / "vae" / "LightVAEw2_1.safetensors"
    save_file(WanVAE(WanVAEShape(24)).state_dict(), path)
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_all_methods_and_says_so(host, name):
    preset, model = PRESETS[name], toy()
    patched, decoder, settings = execute(ARSpeedPreset, model, name)
    patch = model_patch(patched)
    assert (patch.memory.keep, patch.memory.select, patch.skip) == (preset.keep, preset.select, preset.skip)
    assert fp8_layers(patched) == (60 if preset.fp8 else 0) and not fp8_layers(model)
    assert memory_config(model) == MemoryConfig() and decoder is None  # the toy world's VAE is light already
    assert f"{preset.keep.dummy_ratio:.0%} dummy heads" in settings and "decoder: the VAE itself" in settings
    assert ("FP8" in settings.partition("\n")[2]) == preset.fp8


def test_a_preset_makes_a_video(host, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    model, decoder, _ = execute(ARSpeedPreset, toy(), "max")
    positive, vae = ToyWorld.execute("a red circle moving right").args[:2]
    _, latent, report, *_ = execute(StreamARVideo, model, positive, vae, 0, 0, 33, 1, decoder=decoder)
    assert latent["samples"].isfinite().all()
    assert "3 of 15 passes skipped" in report and "dummy" in report


def test_fp8_keeps_what_is_set_on_the_model(host):
    """LoRAs, options and our own patches move to the new weights, and the old model stays as it was."""
    model = execute(ARSpeedPreset, toy(), "quality")[0]
    model.add_patches({"diffusion_model.blocks.0.self_attn.q.weight": ("diff", (torch.ones(192, 192),))}, 0.5)
    model.model_options["transformer_options"]["mark"] = 1
    fast = in_fp8(model)
    assert fast.patches.keys() == model.patches.keys() and fast.model_options["transformer_options"]["mark"] == 1
    assert isinstance(memory_config(fast).keep, DummyForcing) and model_facts(fast) == model_facts(model)
    assert fp8_layers(fast) == 60 and not fp8_layers(model) and fp8_layers(in_fp8(fast)) == 60
    backbone = fast.get_model_object("diffusion_model")
    assert fast.get_model_object("diffusion_model.forward")._backbone() is backbone


@pytest.mark.parametrize("name", ["quality", "balanced"])
def test_model_info_counts_the_weights_that_a_preset_loads(host, name):
    """ComfyUI too: it makes room for as many bytes as a MODEL says it has."""
    from comfy.model_management import module_size

    patched = execute(ARSpeedPreset, toy(), name)[0]
    loaded = module_size(patched.model)
    assert patched.model_size() == loaded and (loaded < toy().model_size() / 3) == PRESETS[name].fp8
    (report,) = execute(ARModelInfoNode, patched, 0, 0, 81)
    assert f"weights {format_bytes(loaded)}" in report


def test_a_model_of_another_loader_keeps_its_weights(golden_model):
    patched, _, settings = execute(ARSpeedPreset, golden_model, "balanced")
    assert "linear layers: as loaded: only models of 'Load AR Video Model'" in settings
    assert model_patch(patched).memory.keep == PRESETS["balanced"].keep
    with pytest.raises(DummyForcingError, match="load the model with Load AR Video Model"):
        in_fp8(golden_model)


def test_the_best_light_decoder_there_is(golden_model, light_vae):
    for name in ("balanced", "max"):  # max would rather have a lighter one, which is not there
        _, decoder, settings = execute(ARSpeedPreset, golden_model, name)
        assert decoder.latent_channels == 16 and f"decoder: {light_vae.name}" in settings
    assert execute(ARSpeedPreset, golden_model, "quality")[1] is None


def test_without_one_it_says_where_it_belongs(golden_model, model_folders):
    assert "lightvaew2_1 in models/vae would be faster" in execute(ARSpeedPreset, golden_model, "balanced")[2]
