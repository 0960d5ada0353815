"""AR Compile and norms computed by our kernels on the real CausalWanModel."""

import comfy.ops
import pytest
import torch
from counting_backend import Counting

from dummy_forcing.core.wan.block import qk_norm
from dummy_forcing.core.wan.compiled import compiled_parts
from dummy_forcing.kernels import (
    HeadTarget,
    Modulation,
    NormRope,
    QKNorm,
    force_elementwise,
    place_heads,
    residual_norm,
)
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.host import chunk_forward
from dummy_forcing.nodes.patches.compile_blocks import ARCompile
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.model_patch import ModelPatch

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def counting(monkeypatch):
    torch._dynamo.reset()
    backend = Counting()
    parts = compiled_parts(backend)
    monkeypatch.setattr(chunk_forward, "compiled_parts", lambda: parts)
    yield backend
    torch._dynamo.reset()


def forced(model):
    return DummyForcingPatch.execute(model, 0.5, 1).args[0]


def compiled(model):
    return ARCompile.execute(model).args[0]


def test_the_schema():
    schema = ARCompile.GET_SCHEMA()
    schema.validate()
    assert schema.node_id == "DummyForcingCompile"


def test_it_fills_a_slot_of_its_own(golden_model):
    patched = compiled(forced(golden_model))
    assert door.model_patch(patched).compile
    assert door.model_patch(patched).memory == door.memory_config(forced(golden_model))
    assert door.model_patch(golden_model) == ModelPatch()


@pytest.mark.parametrize("maker", ["core_sampler", "our_sampler"])
def test_the_host_s_layers_are_compiled_once_for_all_chunks(golden_model, counting, maker, sample, request):
    """Weights go through comfy ops; history grows, and heads are grouped on the way."""
    sampler = request.getfixturevalue(maker)
    plain = sample(forced(golden_model), sampler(), frames=12)
    assert counting.compiled == 0
    torch.testing.assert_close(sample(compiled(forced(golden_model)), sampler(), frames=12), plain, **CLOSE)
    after = counting.compiled
    assert 0 < after <= 6  # comfy ops may break a part in two
    sample(compiled(forced(golden_model)), sampler(), frames=15)
    assert counting.compiled == after


def test_norms_of_the_host_are_known_unless_something_is_around_them(golden_model):
    attention = golden_model.get_model_object("diffusion_model").blocks[0].self_attn
    x = torch.randn(1, 5, attention.dim)

    def known(norm):
        found = qk_norm(norm, x, chunk_forward._computes_as_torch, chunk_forward._cast)
        if found is not None:
            made = torch.nn.functional.rms_norm(x, x.shape[-1:], found.gain, found.eps)
            assert torch.equal(made, norm(x))
        return found is not None

    assert isinstance(attention.norm_q, comfy.ops.disable_weight_init.RMSNorm)
    assert known(attention.norm_q)
    lora = comfy.ops.manual_cast.RMSNorm(attention.dim, eps=1e-6)
    lora.weight = torch.nn.Parameter(torch.ones(attention.dim), requires_grad=False)
    assert known(lora)
    lora.weight_function = [lambda weight: 2 * weight]
    assert not known(lora)

    class OfAnotherPack(comfy.ops.disable_weight_init.RMSNorm):
        def forward(self, x):
            return 3 * super().forward(x)

    other = OfAnotherPack(attention.dim, eps=1e-6)
    other.weight = lora.weight
    assert not known(other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_comfy_kitchen_gives_what_torch_gives(dtype):
    """Its back end for CPUs; those for GPUs have the same interface."""
    pytest.importorskip("comfy_kitchen")
    generator = torch.Generator().manual_seed(0)

    def draw(*size):
        return torch.randn(size, generator=generator).to(dtype)

    q, k, v = (draw(2, 6, 4, 16) for _ in range(3))
    angles = torch.randn(6, 1, 8, generator=generator)
    norms = (QKNorm(draw(64), 1e-6) for _ in range(2))
    finish = NormRope(torch.polar(torch.ones_like(angles), angles), *norms)
    x, update, then = draw(2, 6, 64), draw(2, 6, 64), Modulation(draw(2, 3, 64), draw(2, 3, 64))
    found = []
    for name in ("torch", "kitchen"):
        targets = [HeadTarget(heads, *draw(2, 2, 6, len(heads), 16)) for heads in ((2, 0, 3), (1,))]
        with force_elementwise(name):
            made = [*place_heads(q, k, v, targets, finish), *residual_norm(x, update, then.shift, 1e-6, then)]
        found.append([*made, *(part for target in targets for part in (target.k, target.v))])
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2  # it rounds between its steps, and a shift may cancel
    for plain, kitchen in zip(*found, strict=True):
        torch.testing.assert_close(kitchen, plain, atol=tolerance, rtol=tolerance)
