"""ComfyUI's save nodes behind ours, and what every loader makes of the file: through a real server."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from dummy_forcing.core.checkpoints.convert import convert
from dummy_forcing.core.checkpoints.opened import open_backbone
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.core.world.toy import BACKBONE_FILE, WEIGHTS

SHAPE = WanShape(dim=128, heads=1, layers=2, ffn_dim=64)  # ComfyUI takes all else for granted
LAYER = "blocks.1.ffn.0"
ATTENTIONS = ("self_attn", "cross_attn")
LINEARS = ["ffn.0", "ffn.2", *(f"{attention}.{part}" for attention in ATTENTIONS for part in "qkvo")]
REMEDY = "load an AR video checkpoint with 'Load AR Video Model'"


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = CausalWan(SHAPE).state_dict()
        return {name: value + 0.02 * torch.randn_like(value) for name, value in weights.items()}


@pytest.fixture(scope="module")
def lora(state):
    """Of all linear layers, as LongLive's is."""
    made = torch.Generator().manual_seed(1)
    found = {}
    for module in (f"blocks.{layer}.{part}" for layer in range(SHAPE.layers) for part in LINEARS):
        rows, columns = state[f"{module}.weight"].shape
        found[f"base_model.model.{module}.lora_A.weight"] = 0.1 * torch.randn(2, columns, generator=made)
        found[f"base_model.model.{module}.lora_B.weight"] = 0.1 * torch.randn(rows, 2, generator=made)
    return found


@pytest.fixture(scope="module")
def models(server, state, lora):
    """The server's model folders, with a Self-Forcing and a LongLive as published, but small."""
    folder = server.folder / "models"
    for name in ("diffusion_models", "checkpoints", "loras"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    wrapped = {f"model.{name}": value for name, value in state.items()}
    torch.save({"generator_ema": wrapped}, folder / "diffusion_models" / "self_forcing_dmd.pt")
    torch.save({"generator": wrapped}, folder / "diffusion_models" / "longlive_base.pt")
    torch.save({"generator_lora": lora}, folder / "loras" / "longlive_lora.pt")
    return folder


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def loader(model, weight_dtype="default", family="auto", lora="none"):
    return node("DummyForcingLoadModel", model=model, family=family, weight_dtype=weight_dtype, lora=lora,
                lora_strength=1.0)  # fmt: skip


PATCHES = {
    "dummy forcing": node("DummyForcingPatch", dummy_ratio=0.5, local_context=1, classification_chunk=1,
                          cost="normalised", packed_frames=1, positions="auto", forced_roles=""),
    "window": node("DummyForcingKVWindow", size=9, sink=3),
    "fp8": node("DummyForcingSpeedPreset", preset="max"),
}  # fmt: skip


def info(load):
    """A prompt that says what a loader's model is."""
    return {"load": load, "info": node("DummyForcingModelInfo", model=["load", 0], width=96, height=96, length=9,
                                       chunk_frames=3)}  # fmt: skip


def save(server, load, name, *patches):
    """Load, patch and save through the server; the path of the file."""
    prompt, last = {"load": load}, "load"
    for patch in patches:
        prompt[patch] = {**PATCHES[patch], "inputs": {**PATCHES[patch]["inputs"], "model": [last, 0]}}
        last = patch
    prompt["save"] = node("ModelSave", model=[last, 0], filename_prefix=f"diffusion_models/{name}")
    run = server.run(prompt)
    assert run.status == "execution_success", run.error
    return server.folder / "output" / "diffusion_models" / f"{name}_00001_.safetensors"


def said(server, load):
    run = server.run(info(load))
    return json.dumps([run.error, server.history(run.prompt_id)["outputs"]], ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "load", "patches", "title"),
    [
        ("toy", loader("toy world (built in)"), ("dummy forcing",), "Toy World (its prompts"),
        ("by_hand", loader("self_forcing_dmd.pt", family="reward-forcing"), ("window",),
         "Reward-Forcing (the file's metadata says so)"),
        ("scaled", loader("self_forcing_dmd.pt", "fp8_scaled"), ("dummy forcing",), "Self-Forcing"),
        ("rounded", loader("self_forcing_dmd.pt", "fp8_e4m3fn"), ("window",), "Self-Forcing"),
        ("preset", loader("self_forcing_dmd.pt"), ("fp8",), "Self-Forcing"),
        ("long", loader("longlive_base.pt", lora="longlive_lora.pt"), ("dummy forcing",), "LongLive"),
    ],
)  # fmt: skip
def test_our_loader_knows_the_model_again(server, models, name, load, patches, title):
    path = save(server, load, name, *patches)
    before, after = said(server, load), said(server, loader(path.name))
    assert f"{path.name}: {title}" in after
    print_of = [text.split("fingerprint ")[1][:16] for text in (before, after)]
    assert print_of[0] == print_of[1] or name == "rounded"  # whose vectors are no longer those of the file
    assert "open the saved file with Load AR Video Model" in server.log


def test_what_is_saved(server, models, state, lora):
    """The weights with the LoRA in them, as they would be computed with."""
    path = save(server, loader("longlive_base.pt", lora="longlive_lora.pt"), "merged", "window")
    found = load_file(path)
    down, up = (lora[f"base_model.model.{LAYER}.lora_{factor}.weight"] for factor in "AB")
    expected = state[f"{LAYER}.weight"] + up @ down
    weight = found[f"model.diffusion_model.{LAYER}.weight"].float()
    torch.testing.assert_close(weight, expected, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("load", ["UNETLoader", "CheckpointLoaderSimple"])
def test_loaders_of_comfyui_lead_to_ours(server, models, load):
    """They take it for a bidirectional model; the first node of ours says what to do."""
    path = save(server, loader("self_forcing_dmd.pt"), f"for_{load.lower()}", "dummy forcing")
    if load == "UNETLoader":
        theirs = node(load, unet_name=path.name, weight_dtype="default")
    else:
        path.rename(models / "checkpoints" / path.name)
        theirs = node(load, ckpt_name=path.name)
    assert REMEDY in said(server, theirs)
    assert "Self-Forcing" in said(server, loader(path.name))


@pytest.mark.parametrize("weight_dtype", ["default", "fp8_scaled"])
def test_converted_it_is_causal_for_comfyui_too(server, models, weight_dtype):
    path = save(server, loader("self_forcing_dmd.pt", weight_dtype), f"to_convert_{weight_dtype}", "dummy forcing")
    new = models / "diffusion_models" / f"converted_{weight_dtype}.safetensors"
    convert(open_backbone(path), new)
    theirs = node("UNETLoader", unet_name=new.name, weight_dtype="default")
    assert "CausalWanModel: family unknown" in said(server, theirs)
    again = save(server, theirs, f"again_{weight_dtype}", "dummy forcing")  # loaded by core, patched by us
    assert "choose its family by hand" in said(server, loader(again.name))
    assert "Self-Forcing" in said(server, loader(again.name, family="self-forcing"))


def test_sizes_that_comfyui_does_not_guess(server, models):
    """The toy world, loaded by ComfyUI's own node: heads and text width go with the file."""
    theirs = models / "diffusion_models" / "toy.safetensors"
    theirs.write_bytes((WEIGHTS / BACKBONE_FILE).read_bytes())
    path = save(server, node("UNETLoader", unet_name=theirs.name, weight_dtype="default"), "toy_of_core", "window")
    assert "Toy World" in said(server, loader(path.name))


def test_inspect_says_what_comfyui_makes_of_it(server, models, capsys):
    from dummy_forcing.core.checkpoints.facts import inspect_checkpoint

    facts = inspect_checkpoint(save(server, loader("self_forcing_dmd.pt"), "to_inspect", "dummy forcing"))
    assert (facts.family.name, facts.reason) == ("self-forcing", "the file's metadata says so")
    assert not facts.is_causal_in_comfyui


def test_a_damaged_record_is_no_obstacle(server, models, state):
    from dummy_forcing.core.checkpoints.files.record import RECORD

    for number, record in enumerate((torch.zeros(3), torch.tensor([1, 2], dtype=torch.uint8))):
        name = f"self_forcing_{number}.safetensors"
        save_file(state | {RECORD: record}, models / "diffusion_models" / name)
        assert "Self-Forcing" in said(server, loader(name))
