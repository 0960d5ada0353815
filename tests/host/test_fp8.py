"""Load AR Video Model with weight_dtype fp8_scaled: ComfyUI's own quantised layers, on the CPU and as on a GPU."""

import pytest
import torch
from safetensors.torch import save_file

from dummy_forcing.core.checkpoints.convert import convert
from dummy_forcing.core.checkpoints.opened import open_backbone
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.world.toy import BACKBONE_FILE, FAMILY, WEIGHTS, open_toy_world
from dummy_forcing.nodes.video.load_model import AUTO, NO_LORA, TOY_WORLD, open_model
from dummy_forcing.nodes.video.model_facts import model_facts

BLOCKS, LAYERS = 6, 60


def load(weight_dtype="fp8_scaled", name=TOY_WORLD, lora=NO_LORA):
    return open_model(name, AUTO, weight_dtype, lora, 1.0)


def blocks(model):
    return model.get_model_object("diffusion_model").blocks


def linears(model):
    return {name: part for name, part in blocks(model).named_modules() if hasattr(part, "in_features")}


@pytest.fixture
def fp8_matmul(monkeypatch):
    """ComfyUI as with --supports-fp8-compute, and the names of the layouts of what it multiplies."""
    import comfy.model_management as management
    from comfy_kitchen.tensor import fp8

    seen, multiply = [], fp8._fp8_scaled_mm

    def watched(x, weight, *args, **kwargs):
        seen.append((x.dtype, weight.dtype))
        return multiply(x, weight, *args, **kwargs)

    monkeypatch.setattr(management, "SUPPORT_FP8_OPS", True)
    monkeypatch.setattr(fp8, "_fp8_scaled_mm", watched)
    return seen


def test_which_weights(host):
    from comfy.quant_ops import QuantizedTensor

    model = load()
    found = linears(model)
    assert len(found) == LAYERS
    for part in found.values():
        assert isinstance(part.weight, QuantizedTensor)
        assert part.weight._qdata.dtype is torch.float8_e4m3fn
    others = {name: value for name, value in model.get_model_object("diffusion_model").named_parameters()
              if not isinstance(value, QuantizedTensor)}  # fmt: skip
    exact = open_toy_world().backbone.state_dict()
    assert all(torch.equal(value.to(exact[name].dtype), exact[name]) for name, value in others.items())
    assert model_facts(model).fingerprint == open_toy_world().fingerprint


def test_the_weights_are_those_of_the_file_up_to_rounding(host):
    exact = open_toy_world().backbone.blocks
    for name, part in linears(load()).items():
        weight = exact.get_submodule(name).weight
        error = (part.weight.dequantize().float() - weight).norm() / weight.norm()
        assert 0 < error < 0.03


def test_layers_multiply_in_fp8_where_the_machine_can(fp8_matmul):
    x = torch.randn(1, 37, 192, generator=torch.Generator().manual_seed(0))
    for name, part in linears(load()).items():
        if part.in_features == 192:
            exact = torch.nn.functional.linear(x, part.weight.dequantize(), part.bias)
            made = part(x)
            assert made.dtype == x.dtype and (made - exact).norm() < 0.05 * exact.norm(), name
    assert set(fp8_matmul) == {(torch.float8_e4m3fn, torch.float8_e4m3fn)} and len(fp8_matmul) == 9 * BLOCKS


def test_elsewhere_they_multiply_as_ever(host):
    x = torch.randn(1, 37, 192, generator=torch.Generator().manual_seed(0))
    part = blocks(load())[0].self_attn.q
    exact = torch.nn.functional.linear(x, part.weight.dequantize().to(x.dtype), part.bias.to(x.dtype))
    torch.testing.assert_close(part(x), exact)


def test_the_patcher_that_the_host_makes_anew_is_the_same(host):
    model = load()
    make, arguments = model.cached_patcher_init
    again = linears(make(*arguments))
    for name, part in linears(model).items():
        assert torch.equal(again[name].weight.dequantize(), part.weight.dequantize())


def test_a_converted_file_is_what_core_loads_and_the_same(host, tmp_path):
    import comfy.sd

    path = tmp_path / "toy.safetensors"
    convert(open_backbone(WEIGHTS / BACKBONE_FILE, FAMILY), path, torch.float8_e4m3fn)
    found = linears(comfy.sd.load_diffusion_model(str(path)))
    for name, part in linears(load()).items():
        assert torch.equal(found[name].weight.dequantize(), part.weight.dequantize())


def test_a_quantised_file_is_refused(host, model_folders):
    """Its scales are its own; default runs it in FP8 already."""
    weight = open_toy_world().backbone.blocks[0].self_attn.q.weight
    state = open_toy_world().backbone.state_dict() | {
        "blocks.0.self_attn.q.weight": weight.to(torch.float8_e4m3fn),
        "blocks.0.self_attn.q.weight_scale": torch.ones(()),
    }
    heads = {"config": '{"transformer": {"num_heads": 6}}'}
    save_file(state, model_folders / "diffusion_models" / "self_forcing_fp8.safetensors", heads)
    with pytest.raises(DummyForcingError, match=r"is quantised already.*weight_dtype default"):
        load(name="self_forcing_fp8.safetensors")


PLAIN = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float64)


@pytest.mark.parametrize("weight_dtype", ["default", "fp8_scaled", "fp8_e4m3fn"])
@pytest.mark.parametrize("stored", PLAIN, ids=str)
def test_files_of_any_floating_type(host, model_folders, stored, weight_dtype):
    """Cast as a whole and without scales, as many files of other people are."""
    toy = open_toy_world()
    state = {name: value.to(stored) for name, value in toy.backbone.state_dict().items()}
    heads = {"config": '{"transformer": {"num_heads": 6}}'}
    save_file(state, model_folders / "diffusion_models" / "cast.safetensors", heads)
    model = load(weight_dtype, "cast.safetensors")
    host.load_models_gpu([model])
    x = torch.randn(1, 5, 192, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    made = blocks(model)[0].self_attn.q(x.to(model.model.get_dtype_inference())).float()
    exact = toy.backbone.blocks[0].self_attn.q(x)
    assert (made - exact).norm() < 0.2 * exact.norm()
