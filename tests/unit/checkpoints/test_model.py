import pytest
import torch
from backbones import backbone_fingerprint, load_backbone

from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape
from dummy_forcing.core.world import toy


@pytest.fixture(scope="module")
def model(golden_file):
    return open_checkpoint(golden_file, family="self-forcing")


def test_a_file_alone(model, golden_file):
    assert model.vae is None
    assert model.family.name == "self-forcing"
    assert model.fingerprint == backbone_fingerprint(load_backbone(golden_file))
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)


def test_a_file_and_its_vae(golden_file, vae_file):
    model = open_checkpoint(
        str(golden_file), vae=str(vae_file), family="causal-forcing-framewise", dtype=torch.bfloat16
    )
    assert model.vae.shape == WanVAEShape(width=8)
    assert {weight.dtype for part in (model.backbone, model.vae) for weight in part.parameters()} == {model.dtype}
    assert model.stream_config(2, MemoryConfig()).chunk_frames == 1


def test_a_folder_with_both(tmp_path, save, golden_state, vae_file):
    save(golden_state, "vae.safetensors")  # names do not matter
    model = open_checkpoint(tmp_path, family="self-forcing")
    assert model.vae.shape == WanVAEShape(width=8)
    assert torch.equal(model.backbone.state_dict()["head.modulation"], golden_state["head.modulation"])


def test_a_folder_with_two_vaes(tmp_path, save, golden_state, vae_file, tiny_vae, refused):
    save(golden_state)
    save(tiny_vae.state_dict(), "second.safetensors")
    with refused("several VAEs", vae_file.name, "second.safetensors"):
        open_checkpoint(tmp_path, family="self-forcing")
    assert open_checkpoint(tmp_path, family="self-forcing", vae=vae_file).vae is not None


def test_what_does_not_open(tmp_path, golden_file, refused):
    with refused("no model family 'wan'"):
        open_checkpoint(golden_file, family="wan")
    with refused("there is no file", "vae.safetensors"):
        open_checkpoint(golden_file, family="self-forcing", vae=tmp_path / "vae.safetensors")
    with refused("not a Wan 2.1 VAE"):
        open_checkpoint(golden_file, family="self-forcing", vae=golden_file)


def test_parts_that_do_not_fit(save, golden_file, refused):
    other = save(WanVAE(WanVAEShape(width=8, latent_channels=4)).state_dict(), "four.safetensors")
    with refused("4 latent channels, the backbone 16"):
        open_checkpoint(golden_file, family="self-forcing", vae=other)
    inpainting = CausalWan(WanShape(128, 4, 1, 8, text_dim=8, in_channels=36)).state_dict()
    with refused("image-to-video", "36 input channels"):
        open_checkpoint(save(inpainting))


def test_stream_settings_are_those_of_the_family(model):
    config = model.stream_config(21, MemoryConfig())
    assert (config.total_frames, config.chunk_frames, config.channels) == (21, 3, 16)
    assert config.latent_size == (60, 104)
    assert config.sigmas == model.family.sigmas
    assert model.stream_config(None, MemoryConfig()).total_frames is None


def test_stream_settings_can_be_chosen(model):
    memory = MemoryConfig(Window(sink=1, size=2))
    config = model.stream_config(3, memory, pixel_size=(64, 96), sigmas=[1.0, 0.5, 0.0])
    assert (config.latent_size, config.sigmas, config.memory) == ((8, 12), (1.0, 0.5, 0.0), memory)


@pytest.mark.parametrize("size", [(480, 830), (0, 832), (-16, 16), (8, 16), (480,)])
def test_sizes_that_do_not_fit(model, refused, size):
    with refused("multiples of 16"):
        model.stream_config(3, MemoryConfig(), pixel_size=size)


def test_lengths_that_do_not_fit(model, refused):
    with refused("use 3 or 6 latent frames"):
        model.stream_config(4, MemoryConfig())


def test_the_toy_world_opens_from_its_folder(tmp_path, save, golden_state, tiny_vae, monkeypatch):
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    save(golden_state, toy.BACKBONE_FILE)
    save({name: value.half() for name, value in tiny_vae.state_dict().items()}, toy.VAE_FILE, {})
    model = toy.open_toy_world()
    assert model.family.name == "toy-world"
    assert next(model.vae.parameters()).dtype == torch.float32
    assert model.stream_config(None, MemoryConfig()).latent_size == (12, 12)


def test_the_toy_world_without_weights(tmp_path, save, golden_state, refused, monkeypatch):
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    with refused("weights are missing", toy.BACKBONE_FILE, "install"):
        toy.open_toy_world()
    save(golden_state, toy.BACKBONE_FILE)
    with refused("weights are missing", toy.VAE_FILE, "install"):
        toy.open_toy_world()
