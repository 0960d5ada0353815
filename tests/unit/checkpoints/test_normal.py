import json

import pytest
import torch
from backbones import backbone_fingerprint, load_backbone

from dummy_forcing.core.checkpoints.files.checkpoint_files import read_tensors
from dummy_forcing.core.checkpoints.layouts.normal import normalise
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape

HEADS = {"config": '{"num_heads": 4}'}
LAYER = "blocks.1.ffn.0"


def wrapped(state, prefix):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "stored",
    [
        lambda state: {"generator_ema": wrapped(state, "model.")},
        lambda state: {"generator": wrapped(state, "model."), "critic": {}, "step": 1},
        lambda state: {"generator_ema": wrapped(state, "model._fsdp_wrapped_module.")},
        lambda state: {"generator": wrapped(state, "model."), "generator_ema": wrapped(state, "model.")},
        lambda state: wrapped(state, "net."),
        lambda state: state,
    ],
)
def test_published_layouts(tmp_path, golden_state, stored):
    path = tmp_path / "self_forcing_dmd.pt"
    torch.save(stored(golden_state), path)
    found = normalise(*read_tensors(path), "it")
    assert found.state.keys() == golden_state.keys()
    assert all(torch.equal(found.state[name], value) for name, value in golden_state.items())
    backbone = load_backbone(path)
    assert found.shape == backbone.shape
    assert found.fingerprint == backbone_fingerprint(backbone)


def test_what_comfyui_is_told(golden_file):
    found = normalise(*read_tensors(golden_file), "it")
    assert json.loads(found.metadata["config"]) == {
        "transformer": {"causal_ar": True, "num_heads": 4, "text_dim": 32, "freq_dim": 256}
    }
    assert found.metadata.keys() == {"config"}
    assert found.fingerprint == backbone_fingerprint(load_backbone(golden_file))


def test_a_hostile_config_is_not_passed_on(golden_state):
    config = json.dumps({"transformer": {"num_heads": 4, "image_model": "flux", "dim": 1}})
    found = normalise(golden_state, {"config": config}, "it")
    assert json.loads(found.metadata["config"])["transformer"].keys() == {
        "causal_ar", "num_heads", "text_dim", "freq_dim",
    }  # fmt: skip


@pytest.fixture
def quantised(golden_state):
    """One layer packed as the new format might, with its facts beside it."""
    return golden_state | {
        f"{LAYER}.weight": torch.zeros(256, 64, dtype=torch.uint8),
        f"{LAYER}.weight_scale": torch.ones(256, 8),
        f"{LAYER}.comfy_quant": torch.zeros(3, dtype=torch.uint8),
    }


def test_quantised_layers_pass(quantised, golden_state):
    found = normalise(wrapped(quantised, "model.diffusion_model."), HEADS, "it")
    assert found.state.keys() == quantised.keys()
    assert found.fingerprint == normalise(golden_state, HEADS, "it").fingerprint


def test_the_names_of_quantised_layers_in_the_metadata(golden_state):
    entry = {"format_version": "1.0", "layers": {f"model.diffusion_model.{LAYER}": {"format": "nvfp4"}}}
    found = normalise(golden_state, HEADS | {"_quantization_metadata": json.dumps(entry)}, "it")
    assert json.loads(found.metadata["_quantization_metadata"]) == entry | {"layers": {LAYER: {"format": "nvfp4"}}}


@pytest.mark.parametrize("entry", ["", "{", "[]", "{}", '{"layers": []}', '{"layers": {"a": 3}}'])
def test_damaged_metadata_of_quantised_layers(golden_state, refused, entry):
    with refused("_quantization_metadata", "download"):
        normalise(golden_state, HEADS | {"_quantization_metadata": entry}, "the model 'x'")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks.1.norm3.bias": None}, ["lacks 'blocks.1.norm3.bias'"]),
        ({"head.modulation": torch.ones(1, 2, 64)}, ["wrong shape", "[1, 2, 64]"]),
        ({"img_emb.proj.0.weight": torch.ones(2)}, ["image-to-video model", "it has 'img_emb.proj.0.weight'"]),
        ({f"{LAYER}.weight": torch.zeros(256, 128, dtype=torch.int8)}, ["torch.int8"]),
        ({f"{LAYER}.weight": None, f"{LAYER}.weight_scale": torch.ones(1)}, [f"lacks '{LAYER}.weight'"]),
        ({"model.head.modulation": torch.ones(1, 2, 128)}, ["two copies"]),
    ],
)
def test_what_is_refused(golden_state, refused, changes, words):
    state = {name: value for name, value in (golden_state | changes).items() if value is not None}
    with refused("the model 'x'" if "copies" not in words[0] else "", *words):
        normalise(state, HEADS, "the model 'x'")


def test_an_image_model(refused):
    with refused("not a Wan backbone"):
        normalise({"double_blocks.0.img_attn.qkv.weight": torch.ones(2, 2)}, {}, "the model 'flux'")


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ((36, 16), ["image-to-video", "36 input channels"]),
        ((48, 48), ["Wan 2.2 5B", "LongLive 2.0", "another VAE"]),
        ((20, 16), ["reads 20 latent channels", "writes 16"]),
    ],
)
def test_other_latents(refused, channels, words):
    shape = WanShape(128, 1, 1, 8, text_dim=8, in_channels=channels[0], out_channels=channels[1])
    with refused("text-to-video", *words):
        normalise(CausalWan(shape).state_dict(), {}, "it")
