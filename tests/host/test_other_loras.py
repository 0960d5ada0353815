"""What the messages about other kinds of LoRAs promise: whether ComfyUI's own Load LoRA node applies them."""

import re

import pytest
import torch
from safetensors.torch import save_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.nodes.video.load_model import AUTO, TOY_WORLD, open_model

MODULE, WIDTH, HIDDEN, RANK = "blocks.1.ffn.0", 192, 1024, 4
OWN = (f"diffusion_model.{MODULE}", f"lora_unet_{MODULE.replace('.', '_')}")
OTHERS = (f"transformer.{MODULE}", "lycoris_blocks_1_ffn_net_0_proj", "lora_transformer_blocks_1_ffn_net_0_proj")


def made(*size):
    return 0.1 + torch.rand(size, generator=torch.Generator().manual_seed(sum(size)))


PLAIN = {"lora_down.weight": (RANK, WIDTH), "lora_up.weight": (HIDDEN, RANK)}
KINDS = {
    "a LoKr of LyCORIS": {"lokr_w1": (2, 2), "lokr_w2": (HIDDEN // 2, WIDTH // 2)},
    "a LoHa of LyCORIS": {"hada_w1_a": (HIDDEN, RANK), "hada_w1_b": (RANK, WIDTH),
                          "hada_w2_a": (HIDDEN, RANK), "hada_w2_b": (RANK, WIDTH)},
    "a DoRA": PLAIN | {"dora_scale": (1, WIDTH)},
}  # fmt: skip


@pytest.fixture
def written(model_folders):
    def write(kind, module):
        tensors = {f"{module}.{part}": made(*size) for part, size in KINDS[kind].items()}
        save_file(tensors, model_folders / "loras" / "other.safetensors")

    return write


def refusal():
    with pytest.raises(DummyForcingError) as caught:
        open_model(TOY_WORLD, AUTO, "default", "other.safetensors", 1.0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def patched_by_core(model):
    """Names of the weights that ComfyUI's own node patches."""
    import nodes

    return list(nodes.LoraLoaderModelOnly().load_lora_model_only(model, "other.safetensors", 1.0)[0].patches)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("module", [*OWN, *OTHERS])
def test_the_remedy_is_true(host, written, kind, module):
    written(kind, module)
    model = open_model(TOY_WORLD, AUTO, "default", "none", 1.0)
    said = refusal()
    assert f"is {kind} (it has '{module}" in said
    if module in OWN:
        assert "only ComfyUI's own Load LoRA node behind Load AR Video Model applies; choose the LoRA there" in said
        assert patched_by_core(model) == [f"diffusion_model.{MODULE}.weight"]
        return
    assert patched_by_core(model) == []
    spelt = re.search(r"rename the LoRA's tensors, this one to '([^']+)'", said)[1]
    written(kind, spelt.rpartition(".")[0])
    assert patched_by_core(model) == [f"diffusion_model.{MODULE}.weight"]


@pytest.mark.parametrize("module", [*OWN, *OTHERS, MODULE, "blocks.1.ffn.net.0.proj", "base_model.model." + MODULE])
def test_plain_ones_are_read_under_all_names(host, model_folders, module):
    tensors = {f"{module}.{part}": made(*size) for part, size in PLAIN.items()}
    save_file(tensors, model_folders / "loras" / "other.safetensors")
    model = open_model(TOY_WORLD, AUTO, "default", "other.safetensors", 1.0)
    assert list(model.patches) == [f"diffusion_model.{MODULE}.weight"]
