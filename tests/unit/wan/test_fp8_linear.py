import copy
import logging

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.forward import encode_prompt
from dummy_forcing.core.wan.fp8_linear import Fp8Linear, describe_fp8, fp8_weights, say_fp8, use_fp8_linears
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.kernels.fp8 import fp8_path, quantise_rows

SHAPE = WanShape(dim=48, heads=4, layers=2, ffn_dim=64, text_dim=16, freq_dim=32)
CPU = torch.device("cpu")
IN_A_BLOCK = [f"{part}.{name}" for part in ("self_attn", "cross_attn") for name in "qkvo"] + ["ffn.0", "ffn.2"]


@pytest.fixture
def backbone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CausalWan(SHAPE).eval().requires_grad_(False)


def test_the_linears_of_the_blocks_and_no_others(backbone):
    before = copy.deepcopy(backbone.state_dict())
    use_fp8_linears(backbone)
    expected = {f"blocks.{layer}.{name}.weight" for layer in range(2) for name in IN_A_BLOCK}
    assert fp8_weights(backbone) == expected
    found = backbone.state_dict()
    assert found.keys() == before.keys() | {f"{name}_scale" for name in expected}
    for name in before.keys() - expected:
        assert torch.equal(found[name], before[name])
    for name in expected:
        values, scale = quantise_rows(before[name])
        assert torch.equal(found[name].float(), values.float()) and torch.equal(found[f"{name}_scale"], scale)
        assert scale.shape == (before[name].shape[0], 1)


def test_an_outline_gets_the_same_layers(backbone):
    with torch.device("meta"):
        outline = use_fp8_linears(CausalWan(SHAPE))
    sizes = {name: (value.shape, value.dtype) for name, value in use_fp8_linears(backbone).state_dict().items()}
    assert {name: (value.shape, value.dtype) for name, value in outline.state_dict().items()} == sizes


def test_layers_of_odd_sizes_stay():
    backbone = CausalWan(WanShape(dim=48, heads=4, layers=1, ffn_dim=40, text_dim=16, freq_dim=32))
    use_fp8_linears(backbone)
    assert len(fp8_weights(backbone)) == 8
    assert not any(isinstance(part, Fp8Linear) for part in backbone.blocks[0].ffn)


def test_a_model_that_cannot_is_refused():
    with pytest.raises(DummyForcingError, match="multiples of 16, this model's are 24 and 40"):
        use_fp8_linears(CausalWan(WanShape(dim=24, heads=2, layers=1, ffn_dim=40, text_dim=16, freq_dim=32)))


def test_prompts_are_encoded_nearly_alike(backbone):
    text = torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(1))
    exact = encode_prompt(backbone, text)
    for (k, v), (exact_k, exact_v) in zip(
        encode_prompt(use_fp8_linears(backbone), text).layers, exact.layers, strict=True
    ):
        for made, wanted in ((k, exact_k), (v, exact_v)):
            assert 0 < (made - wanted).norm() < 0.06 * wanted.norm()


def test_keys_and_values_are_of_the_activations_type(backbone):
    use_fp8_linears(backbone.bfloat16())
    text = torch.zeros(1, 7, 16, dtype=torch.bfloat16)
    assert {tensor.dtype for pair in encode_prompt(backbone, text).layers for tensor in pair} == {torch.bfloat16}


def test_what_is_said(backbone, caplog):
    assert describe_fp8(backbone, CPU) is None
    use_fp8_linears(backbone)
    assert describe_fp8(backbone, CPU) == {"layers": 20, "path": fp8_path(CPU)[0]}
    with caplog.at_level(logging.INFO, "dummy_forcing"):
        say_fp8(backbone, CPU)
    assert len(caplog.records) == 1 and f"20 linear layers in FP8: {fp8_path(CPU)[0]}" in caplog.text


def test_it_compiles_as_one_graph():
    x = torch.randn(1, 37, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        linear = Fp8Linear(torch.nn.Linear(64, 48))
        compiled = torch.compile(linear.forward, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), linear(x))
