"""Load AR Video Model, with files in the layouts in which their authors published them."""

import copy
import json
import os

import pytest
import torch
from safetensors.torch import save_file

from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.core.world.toy import BACKBONE_FILE, WEIGHTS, open_toy_world
from dummy_forcing.nodes.video.load_model import AUTO, NO_LORA, TOY_WORLD, LoadARVideoModel
from dummy_forcing.nodes.video.model_facts import facts_of, model_facts

CONFIG = json.dumps({"transformer": {"causal_ar": True, "num_heads": 4, "text_dim": 32}})
HEADS = {"config": json.dumps({"num_heads": 4})}
LAYER = "blocks.1.ffn.0"


def load(model=TOY_WORLD, family=AUTO, weight_dtype="default", **lora):
    return LoadARVideoModel.execute(model, family, weight_dtype, **lora).args[0]


def wrapped(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def weights(model):
    return dict(model.get_model_object("diffusion_model").named_parameters())


def assert_weights(model, state):
    found = weights(model)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.fixture
def save(model_folders):
    """Writes a model file, by default into diffusion_models."""

    def write(stored, name, metadata=None, folder="diffusion_models"):
        path = model_folders / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(stored, path, metadata)
        else:
            torch.save(stored, path)
        return path

    return write


@pytest.fixture
def state(golden):
    return golden("weights")


@pytest.fixture
def refused():
    """Runs the node and returns the words of its refusal, which is one line."""

    def run(*args, **kwargs):
        with pytest.raises(DummyForcingError) as caught:
            load(*args, **kwargs)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


# Schema


def options(name):
    return next(each for each in LoadARVideoModel.define_schema().inputs if each.id == name).options


def test_the_schema(save, state):
    save(state, "b.safetensors")
    save(state, "sub/a.pt")
    save(state, "b.safetensors", folder="checkpoints")
    save(state, "c.ckpt", folder="checkpoints")
    save(state, "l.safetensors", folder="loras")
    schema = LoadARVideoModel.GET_SCHEMA()
    schema.validate()
    assert all(part.tooltip for part in (*schema.inputs, *schema.outputs))
    assert options("model") == [TOY_WORLD, "b.safetensors", os.path.join("sub", "a.pt"), "c.ckpt"]
    assert options("lora") == [NO_LORA, "l.safetensors"]
    assert options("family")[:2] == [AUTO, "toy-world"]


def test_the_schema_without_folders(model_folders, monkeypatch):
    import folder_paths

    for name in ("diffusion_models", "checkpoints", "loras"):
        (model_folders / name).rmdir()
    assert options("model") == [TOY_WORLD]
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    assert (options("model"), options("lora")) == ([TOY_WORLD], [NO_LORA])


def test_a_file_that_changed_is_loaded_again(save, state):
    path = save(state, "self_forcing.pt")
    inputs = {"model": "self_forcing.pt", "family": AUTO, "weight_dtype": "default"}
    before = LoadARVideoModel.fingerprint_inputs(**inputs)
    assert before == LoadARVideoModel.fingerprint_inputs(**inputs, lora=NO_LORA, lora_strength=1.0)
    os.utime(path, (1, 1))
    assert before != LoadARVideoModel.fingerprint_inputs(**inputs)
    assert LoadARVideoModel.fingerprint_inputs(model=TOY_WORLD) == [[None], [None]]


# What is loaded


def test_the_toy_world(host):
    model = load()
    info = model_facts(model)
    assert (info.family.name, info.source) == ("toy-world", TOY_WORLD)
    toy = open_toy_world()
    assert (info.shape, info.fingerprint) == (toy.backbone.shape, toy.fingerprint)
    assert_weights(model, toy.backbone.state_dict())


@pytest.mark.parametrize(
    ("name", "stored", "family"),
    [
        ("self_forcing_dmd.pt", lambda state: {"generator_ema": wrapped(state, "model.")}, "self-forcing"),
        ("causal_forcing.pt", lambda state: {"generator": wrapped(state, "model.")}, "causal-forcing"),
        ("causal_forcing.pt", lambda state: {"generator_ema": wrapped(state, "model._fsdp_wrapped_module.")},
         "causal-forcing-framewise"),
        ("chunkwise/causal_forcing.safetensors", lambda state: state, "causal-forcing"),
    ],
)  # fmt: skip
def test_published_files(host, save, state, name, stored, family):
    path = save(stored(state), name)
    model = load(name)
    info = model_facts(model)
    assert (info.family.name, info.source) == (family, name)
    assert info.fingerprint == open_checkpoint(path).fingerprint
    assert_weights(model, state)
    assert hasattr(model.get_model_object("diffusion_model"), "init_kv_caches")


def test_core_alone_takes_a_published_file_for_an_ordinary_model(host, save):
    import comfy.sd

    real_names_and_text = CausalWan(WanShape(dim=128, heads=1, layers=1, ffn_dim=8)).state_dict()
    path = save({"generator_ema": wrapped(real_names_and_text, "model.")}, "self_forcing_dmd.pt")
    model = comfy.sd.load_diffusion_model(str(path))
    with pytest.raises(DummyForcingError, match="Load AR Video Model"):
        facts_of(model)
    assert facts_of(load("self_forcing_dmd.pt")).family.name == "self-forcing"


@pytest.mark.parametrize("name", ["self_forcing.pt", "self_forcing.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_a_buffer_that_wan_computes_itself(host, save, state, name, dtype):
    save(state | {"freqs": torch.ones(1024, 64, dtype=dtype)}, name, HEADS)
    assert_weights(load(name), state)


def test_weights_of_students_and_averages(host, save, state, caplog):
    """Found by any name; what is taken of several is said in one line of the log."""
    caplog.set_level("INFO", "dummy_forcing")
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    save({"student": wrapped(state, "model."), "critic": other}, "self_forcing_student.pt")
    assert_weights(load("self_forcing_student.pt"), state)
    assert not any("stays unused" in message for message in caplog.messages)
    save({"model": other, "model_ema": state, "step": 7}, "self_forcing_ema.pt")
    assert_weights(load("self_forcing_ema.pt"), state)
    said = [message for message in caplog.messages if "stays unused" in message]
    assert said == ["self_forcing_ema.pt: its weights are those in 'model_ema', the average; 'model' beside it "
                    "stays unused"]  # fmt: skip


def test_an_all_in_one_checkpoint(host, save, state):
    stored = wrapped(state, "model.diffusion_model.") | {"vae.conv1.weight": torch.ones(2)}
    save(stored, "self-forcing.safetensors", HEADS, folder="checkpoints")
    model = load("self-forcing.safetensors")
    assert model_facts(model).shape.heads == 4
    assert_weights(model, state)


def sample(model, context, noise):
    """Two chunks with ComfyUI's own AR sampler."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds([[context, {}]], [[context, {}]])
    guider.set_cfg(1.0)
    sampler = comfy.samplers.ksampler("ar_video", {"num_frame_per_block": 3})
    sigmas = torch.tensor([1.0, 0.625, 0.0])
    return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=1, disable_pbar=True)


def test_the_model_is_the_one_that_core_loads(save, state, golden, golden_model):
    run = golden("dense")
    noise = run["noise"][:, :, :6]
    save(state, "self_forcing.safetensors", {"config": CONFIG})
    ours = sample(load("self_forcing.safetensors"), run["context"], noise)
    assert torch.equal(ours, sample(golden_model, run["context"], noise))


def test_the_family_can_be_chosen(host, save, state):
    save(state, "mine.safetensors", HEADS)
    info = model_facts(load("mine.safetensors", "causal-forcing-framewise"))
    assert (info.family.chunk_frames, info.reason) == (1, "it was chosen by hand")


# fp8 and quantisation


def test_fp8(host):
    model = load(weight_dtype="fp8_e4m3fn")
    assert {weight.dtype for weight in weights(model).values()} >= {torch.float8_e4m3fn}
    assert model.model.get_dtype_inference() is not torch.float8_e4m3fn
    assert model_facts(model).fingerprint == open_toy_world().fingerprint


def test_a_quantised_checkpoint(host, save, state):
    weight = state[f"{LAYER}.weight"]
    scale = weight.abs().max() / 448
    quantised = state | {
        f"{LAYER}.weight": (weight / scale).to(torch.float8_e4m3fn),
        f"{LAYER}.scale_weight": scale,
        "scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn),
    }
    save(wrapped(quantised, "model.diffusion_model."), "self_forcing_fp8.safetensors", HEADS)
    save(state, "self_forcing.safetensors", HEADS)
    x = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    layers = [load(name).get_model_object("diffusion_model").blocks[1].ffn[0]
              for name in ("self_forcing.safetensors", "self_forcing_fp8.safetensors")]  # fmt: skip
    exact, rounded = (layer(x) for layer in layers)
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, atol=0.1 * float(exact.std()), rtol=0.1)


# LoRA


def lora(prefix="base_model.model.", rank=2, dim=128):
    made = torch.Generator().manual_seed(0)
    return {
        f"{prefix}{LAYER}.lora_A.weight": torch.randn(rank, dim, generator=made),
        f"{prefix}{LAYER}.lora_B.weight": torch.randn(256, rank, generator=made),
    }


@pytest.mark.parametrize("name", ["longlive.pt", "lora.safetensors"])
def test_a_lora(host, save, state, name):
    stored = lora()
    save({"generator_lora": stored} if name.endswith(".pt") else stored, name, folder="loras")
    save(state, "self_forcing.safetensors", HEADS)
    model = load("self_forcing.safetensors", lora=name, lora_strength=0.5)
    info = model_facts(model)
    assert info.source == f"self_forcing.safetensors + {name}"
    assert list(model.patches) == [f"diffusion_model.{LAYER}.weight"]
    down, up = stored.values()
    host.load_models_gpu([model])
    patched = weights(model)[f"{LAYER}.weight"]
    torch.testing.assert_close(patched, state[f"{LAYER}.weight"] + 0.5 * up @ down)
    host.unload_all_models()
    assert_weights(model, state)
    assert info.fingerprint == model_facts(load("self_forcing.safetensors")).fingerprint


def test_no_lora(host, save):
    save(lora(), "lora.safetensors", folder="loras")
    assert not load(lora="lora.safetensors", lora_strength=0.0).patches
    assert not load().patches


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (lora("double_"), "nothing in it belongs to this model"),
        (lora(dim=5120), "does not fit this model"),
        ({"a": torch.ones(2)}, "is not a LoRA"),
    ],
)
def test_a_lora_of_another_model(host, save, state, refused, stored, words):
    save(stored, "lora.safetensors", folder="loras")
    save(state, "self_forcing.safetensors", HEADS)
    said = refused("self_forcing.safetensors", lora="lora.safetensors")
    assert words in said and "lora.safetensors" in said


# Copies


def test_the_facts_go_with_the_model(host):
    model = load()
    info = model_facts(model)
    assert model_facts(model.clone().clone()) is info
    assert facts_of(model) is info
    assert copy.deepcopy(info) == info
    clones = (model.deepclone_multigpu(torch.device("cpu")), model.clone(force_deepcopy=True))
    for clone in clones:
        assert model_facts(clone) is info
        assert clone.model is not model.model
        assert_weights(clone, weights(model))


def test_a_copy_has_the_lora_too(host, save, state):
    save(lora(), "lora.safetensors", folder="loras")
    save(state, "self_forcing.safetensors", HEADS)
    model = load("self_forcing.safetensors", lora="lora.safetensors")
    assert model.clone(force_deepcopy=True).patches.keys() == model.patches.keys()


def test_models_of_another_loader(golden_model, toy_model, save, state):
    path = save(state, "self_forcing.safetensors", HEADS)
    info = facts_of(golden_model)
    assert model_facts(golden_model) is None
    assert (info.family, info.source) == (None, "CausalWanModel")
    assert info.fingerprint == open_checkpoint(path).fingerprint
    toy = facts_of(toy_model)
    assert (toy.family.name, toy.fingerprint) == ("toy-world", open_toy_world().fingerprint)


# Refusals


def test_bad_files(model_folders, save, state, refused):
    path = save(state, "self_forcing.safetensors", HEADS)
    path.write_bytes(path.read_bytes()[:5000])
    assert "cut short" in refused("self_forcing.safetensors")
    path = save(state, "self_forcing.pt")
    path.write_bytes(path.read_bytes()[:5000])
    assert "is cut short (4.9 KiB of it are there): its download broke off" in refused("self_forcing.pt")
    for name in ("page.ckpt", "page.safetensors", "page.pt"):
        (model_folders / "diffusion_models" / name).write_text("<html>please log in</html>")
        assert "is a web page (26 B) and not the file itself: its download failed" in refused(name)
        (model_folders / "diffusion_models" / name).write_text("")
        assert "is empty (0 bytes): its download failed" in refused(name)
    assert "there is no file 'gone.pt' in models/diffusion_models or models/checkpoints" in refused("gone.pt")
    assert "there is no file 'gone.pt' in models/loras" in refused(lora="gone.pt")


def test_a_path_that_leaves_the_folder(model_folders, save, state, refused):
    torch.save(state, model_folders / "outside.pt")
    assert "there is no file" in refused("../outside.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head.modulation": None}, "lacks 'head.modulation'"),
        ({"blocks.0.ffn.2.bias": torch.ones(7)}, "wrong shape"),
        (
            {"img_emb.proj.0.weight": torch.ones(2, 2)},
            "image-to-video model with its own image encoder (it has 'img_emb.proj.0.weight')",
        ),
    ],
)
def test_bad_tensors(save, state, refused, changes, words):
    state = {name: value for name, value in (state | changes).items() if value is not None}
    save(state, "self_forcing.safetensors", HEADS)
    assert words in refused("self_forcing.safetensors")


def test_another_kind_of_model(save, state, refused):
    save({"double_blocks.0.img_attn.qkv.weight": torch.ones(6, 2)}, "flux.safetensors")
    assert "not a Wan backbone" in refused("flux.safetensors")
    save(state, "wan2.1_t2v_1.3B_fp16.safetensors", HEADS)
    assert "ordinary Wan model" in refused("wan2.1_t2v_1.3B_fp16.safetensors")
    save(state, "longlive_base.pt")
    assert "LongLive" in refused("longlive_base.pt")


def test_the_toy_world_is_part_of_the_pack(refused, monkeypatch, tmp_path):
    from dummy_forcing.core.world import toy

    assert (WEIGHTS / BACKBONE_FILE).is_file()
    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    assert "weights are missing" in refused()
