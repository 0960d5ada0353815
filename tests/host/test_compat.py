"""What ComfyUI does to a model besides running it (fp8, LoRA, offload, compile, further GPUs, other packs' patches)
has the same effect under our forward as under core's."""

import copy
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory.memory import Memory
from dummy_forcing.core.memory.store import FrameStore
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.heads.profile_heads import ProfileDummyHeads
from dummy_forcing.nodes.host.sampling_run import SamplingRun
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.video.load_model import AUTO, NO_LORA, TOY_WORLD, open_model
from dummy_forcing.nodes.video.model_info import ARModelInfoNode
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld

from .server.comfy_server import ComfyServer

PACK = Path(__file__).resolve().parents[2]
EXACT = {"atol": 1e-5, "rtol": 0}
SAMPLERS = ("core_sampler", "our_sampler")
FORWARD = "diffusion_model.forward"


def load_toy(weight_dtype="default", lora=NO_LORA):
    return open_model(TOY_WORLD, AUTO, weight_dtype, lora, 1.0)


def dense(model):
    return door.with_memory(model, MemoryConfig())


def forced(model):
    return DummyForcingPatch.execute(model, 0.5, 1).args[0]


def backbone(model):
    return model.model.diffusion_model


@pytest.fixture
def toy(host):
    return load_toy()


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    """Core's AR sampler, then ours."""
    return request.getfixturevalue(request.param)()


@pytest.fixture
def sample_toy(host):
    """A function that samples three chunks of the toy world."""
    import comfy.samplers

    positive, negative = (ToyWorld.execute(f"a {colour} circle moving left").args[0] for colour in ("red", "blue"))
    noise = torch.randn(1, 16, 9, 12, 12, generator=torch.Generator().manual_seed(0))

    def run(model, sampler, cfg=1.0):
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        sigmas = torch.tensor([1.0, 0.8, 0.0])
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=1, disable_pbar=True)

    return run


def distance(found, expected):
    return float((found - expected).std() / expected.std())


# fp8


@pytest.fixture
def kv_dtypes(monkeypatch):
    """The dtypes of all keys and values, as they come and as they are stored."""
    seen, attend, tail = set(), Memory.attend, FrameStore.tail

    def coming(self, layer, q, k, v, *rest):
        seen.update((k.dtype, v.dtype))
        return attend(self, layer, q, k, v, *rest)

    def stored(self, clock):
        seen.update((self.k.dtype, self.v.dtype))
        return tail(self, clock)

    monkeypatch.setattr(Memory, "attend", coming)
    monkeypatch.setattr(FrameStore, "tail", stored)
    return seen


@pytest.mark.parametrize("patch", [dense, forced])
def test_fp8_weights_leave_keys_and_values_at_the_compute_dtype(toy, patch, sampler, sample_toy, kv_dtypes):
    rounded = load_toy("fp8_e4m3fn")
    assert rounded.model.get_dtype() is torch.float8_e4m3fn
    near = sample_toy(patch(rounded), sampler)
    assert kv_dtypes == {rounded.model.get_dtype_inference()} == {torch.float32}
    assert distance(near, sample_toy(patch(toy), sampler)) < 0.15


@pytest.mark.parametrize("patch", [dense, forced])
def test_scaled_fp8_weights_are_nearer(toy, patch, sampler, sample_toy, kv_dtypes):
    exact = sample_toy(patch(toy), sampler)
    scaled, stored = (sample_toy(patch(load_toy(kind)), sampler) for kind in ("fp8_scaled", "fp8_e4m3fn"))
    assert kv_dtypes == {torch.float32}
    assert 0 < distance(scaled, exact) < 0.1
    assert distance(scaled, exact) < distance(stored, exact)


# LoRA


@pytest.fixture
def lora(tmp_path, monkeypatch):
    """The name of a LoRA file for the toy world, in ComfyUI's folder."""
    import folder_paths

    known = {"loras": ([str(tmp_path)], folder_paths.supported_pt_extensions)}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folder_paths.folder_names_and_paths | known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    made, tensors = torch.Generator().manual_seed(0), {}
    for name, module in backbone(load_toy()).blocks.named_modules():
        if isinstance(module, torch.nn.Linear):
            for part, shape in (("A", (2, module.in_features)), ("B", (module.out_features, 2))):
                key = f"diffusion_model.blocks.{name}.lora_{part}.weight"
                tensors[key] = 0.1 * torch.randn(shape, generator=made)
    save_file(tensors, tmp_path / "toy_lora.safetensors")
    return "toy_lora.safetensors"


def by_core(model, lora):
    from nodes import LoraLoaderModelOnly

    return LoraLoaderModelOnly().load_lora_model_only(model, lora, 1.0)[0]


@pytest.mark.parametrize("patch", [dense, forced])
def test_a_lora_is_the_same_from_every_loader_before_and_after_the_patch(toy, lora, patch, sampler, sample_toy):
    expected = sample_toy(patch(by_core(toy, lora)), sampler)
    assert distance(expected, sample_toy(patch(toy), sampler)) > 0.05
    for model in (by_core(patch(toy), lora), patch(load_toy(lora=lora))):
        torch.testing.assert_close(sample_toy(model, sampler), expected, **EXACT)


def test_a_lora_on_scaled_fp8_weights(toy, lora, our_sampler, sample_toy):
    plain, exact = (sample_toy(forced(model), our_sampler()) for model in (toy, by_core(toy, lora)))
    found = sample_toy(forced(by_core(load_toy("fp8_scaled"), lora)), our_sampler())
    assert distance(found, exact) < 0.6 * distance(plain, exact)


# Offload. ComfyUI refuses --lowvram and --novram beside --cpu, so no server is started with them here: weights are
# unloaded and the state is set in this process instead.


def casting(model):
    """For every layer whether ComfyUI brings its weights along when it runs."""
    modules = backbone(model).modules()
    return [module.comfy_cast_weights for module in modules if hasattr(module, "comfy_cast_weights")]


def half_unloaded(model):
    """A clone that loses half of its weights after loading, as when ComfyUI runs out of memory."""
    from comfy.patcher_extension import WrappersMP

    clone = model.clone()

    def unload_first(executor, guider, *args, **kwargs):
        clone.partially_unload(torch.device("cpu"), clone.model_size() / 2)
        assert any(casting(clone)) and not all(casting(clone))
        return executor(guider, *args, **kwargs)

    clone.add_wrapper(WrappersMP.SAMPLER_SAMPLE, unload_first)
    return clone


@pytest.mark.parametrize("patch", [dense, forced])
def test_partly_unloaded_weights_give_the_same_numbers(toy, lora, patch, sampler, sample_toy):
    """What --lowvram, or a full GPU, leads to."""
    model = patch(by_core(toy, lora))
    expected = sample_toy(model, sampler)
    torch.testing.assert_close(sample_toy(half_unloaded(model), sampler), expected, **EXACT)
    assert toy.model.lowvram_patch_counter > 0  # LoRAs of unloaded weights are applied in passing


def test_novram_gives_the_same_numbers(toy, lora, host, monkeypatch, sampler, sample_toy):
    """The state that --novram sets: no weight stays loaded."""
    model = forced(by_core(toy, lora))
    expected = sample_toy(model, sampler)
    host.unload_all_models()
    monkeypatch.setattr(host, "vram_state", host.VRAMState.NO_VRAM)
    monkeypatch.setattr(host, "is_device_cpu", lambda _: False)
    torch.testing.assert_close(sample_toy(model, sampler), expected, **EXACT)
    assert all(casting(toy)) and toy.model.lowvram_patch_counter > 0


INPUTS = {
    "DummyForcingLoadModel": {"model": TOY_WORLD, "family": AUTO, "weight_dtype": "default"},
    "DummyForcingToyWorld": {"prompt": "a red circle moving left"},
    "DummyForcingPatch": {"model": ["DummyForcingLoadModel", 0], "dummy_ratio": 0.5, "local_context": 1},
    "DummyForcingStreamVideo": {
        "model": ["DummyForcingPatch", 0],
        "positive": ["DummyForcingToyWorld", 0],
        "vae": ["DummyForcingToyWorld", 1],
        **{"width": 0, "height": 0, "length": 21, "seed": 0},
    },
    "PreviewAny": {"source": ["DummyForcingStreamVideo", 2]},
}


@pytest.mark.heavy
@pytest.mark.parametrize(
    "flags", [("--fp8_e4m3fn-unet", "--disable-smart-memory"), ("--bf16-unet", "--cache-none")]
)
def test_a_server_with_memory_flags(comfyui, flags, tmp_path):
    """Those that go with --cpu; --lowvram and --novram do not, see Offload above."""
    with ComfyServer(comfyui, PACK, tmp_path, flags) as server:
        run = server.run({name: {"class_type": name, "inputs": inputs} for name, inputs in INPUTS.items()})
    assert run.status == "execution_success", run.error
    assert "21 frames" in run.executed["PreviewAny"]["text"][0]


# torch.compile


def compiled(model, part):
    """As core's TorchCompileModel and others' block compilers, with a back end that needs no C compiler."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras.nodes_torch_compile import TorchCompileModel, skip_torch_compile_dict

    if part == "model":
        return TorchCompileModel.execute(model, "eager").args[0]
    clone = model.clone(disable_dynamic=True)
    keys = [f"diffusion_model.blocks.{layer}{part}" for layer in range(len(backbone(model).blocks))]
    options = {"guard_filter_fn": skip_torch_compile_dict}
    set_torch_compile_wrapper(clone, backend="eager", options=options, keys=keys)
    return clone


@pytest.fixture
def graphs():
    """A function that counts what torch has compiled so far."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


@pytest.mark.parametrize("part", ["model", "", ".ffn"])
def test_compiling_before_or_after_the_patch_changes_nothing(toy, part, graphs, sampler, sample_toy):
    """Our forward is not traced; the modules that it calls are, if they are compiled one by one."""
    expected = sample_toy(forced(toy), sampler)
    for model in (forced(compiled(toy, part)), compiled(forced(toy), part)):
        torch.testing.assert_close(sample_toy(model, sampler), expected, atol=1e-4, rtol=0)
    assert graphs() == (1 if part == ".ffn" else 0)  # one for all layers and passes: nothing is compiled again


# Clones with a module of their own


CLONES = {
    "deep copy": lambda model: model.clone(force_deepcopy=True),
    "another GPU": lambda model: model.deepclone_multigpu(torch.device("cpu")),
}


def ruin(model):
    """Whatever still uses this module's weights gives something else from now on."""
    for weight in backbone(model).parameters():
        weight.data.zero_()


@pytest.mark.parametrize("kind", CLONES)
def test_a_clone_with_its_own_module_runs_that_module(toy, kind, sampler, sample_toy):
    import comfy.samplers

    model, euler = forced(toy), comfy.samplers.ksampler("euler")
    expected = [sample_toy(model, each) for each in (sampler, euler)]
    clone = CLONES[kind](model)
    assert backbone(clone) is not backbone(toy)
    ruin(toy)
    for made in (clone, clone.clone(), forced(clone)):
        found = [sample_toy(made, each) for each in (sampler, euler)]
        torch.testing.assert_close(found, expected, atol=0, rtol=0)
    assert not torch.equal(sample_toy(model, sampler), expected[0])


def test_a_deep_copy_of_a_patched_module_runs_the_copy(toy, our_sampler, sample_toy):
    sample_toy(forced(toy), our_sampler())
    x, t, context = torch.ones(1, 16, 3, 12, 12), torch.ones(1), torch.ones(1, 4, backbone(toy).text_dim)
    expected, copied = backbone(toy)(x, t, context), copy.deepcopy(backbone(toy))
    ruin(toy)
    assert torch.equal(copied(x, t, context), expected)


@pytest.mark.parametrize("order", ["patch first", "split first"])
def test_cfg_split_over_two_devices(toy, order, monkeypatch, sampler, sample_toy):
    """Core's MultiGPU CFG Split, with two names of the CPU for two devices."""
    import comfy.model_management as management
    from comfy_extras.nodes_multigpu import MultiGPUCFGSplitNode

    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    monkeypatch.setattr(management, "get_all_torch_devices", lambda exclude_current=False: devices)
    used = set()
    flow = SamplingRun.flow

    def watched(self, module, *args):
        used.add(module)
        torch.set_num_threads(1)  # core runs each device in a thread of its own, which knows nothing of conftest's
        return flow(self, module, *args)

    monkeypatch.setattr(SamplingRun, "flow", watched)
    expected = sample_toy(forced(toy), sampler, cfg=3.0)

    def split(model):
        return MultiGPUCFGSplitNode.execute(model, 2).args[0]

    model = split(forced(toy)) if order == "patch first" else forced(split(toy))
    used.clear()
    # Sums in another order shift it by 2e-4; exchanged conditionings by 58, dense memory on one side by 18.
    torch.testing.assert_close(sample_toy(model, sampler, cfg=3.0), expected, atol=2e-3, rtol=0)
    assert len(used) == 2


# Other packs' patches on the forward


def other_pack(model, hands_on=True):
    """A clone on which another pack halves the model's output, or runs core's forward instead of what was there;
    and the list of that pack's calls."""
    clone, calls = model.clone(), []
    module = backbone(clone)
    below = clone.get_model_object(FORWARD) if hands_on else type(module).forward.__get__(module)

    def halved_forward(x, *args, **kwargs):
        calls.append(x.shape)
        return 0.5 * below(x, *args, **kwargs)

    clone.add_object_patch(FORWARD, halved_forward)
    return clone, calls


@pytest.mark.parametrize("patch", [dense, forced])
def test_a_patch_above_ours_sees_every_pass(toy, patch, sampler, sample_toy):
    model, calls = other_pack(patch(toy))
    found = sample_toy(model, sampler)
    assert len(calls) == 3 * 3
    assert not torch.allclose(found, sample_toy(patch(toy), sampler), atol=1e-3)
    again, _ = other_pack(patch(toy))
    torch.testing.assert_close(sample_toy(patch(again), sampler), found, **EXACT)  # one more of our nodes


@pytest.mark.parametrize("name", [FORWARD, "diffusion_model.blocks.0.self_attn.forward"])
def test_a_patch_below_ours_is_named_as_left_out(toy, name, caplog, sampler, sample_toy):
    import comfy.samplers

    expected = sample_toy(forced(toy), sampler)
    assert "leaves out" not in caplog.text
    clone = toy.clone()
    clone.add_object_patch(name, lambda x, *args, **kwargs: x)
    torch.testing.assert_close(sample_toy(forced(clone), sampler), expected, **EXACT)
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert name in warning.message and "test_compat" in warning.message and "put them after" in warning.message
    if name == FORWARD:  # it still rules where no AR sampler is at work
        euler = comfy.samplers.ksampler("euler")
        assert torch.equal(sample_toy(forced(clone), euler), sample_toy(clone, euler))


def test_a_patch_above_ours_that_does_not_hand_on_is_an_error(toy, sampler, sample_toy):
    model, _ = other_pack(forced(toy), hands_on=False)
    with pytest.raises(DummyForcingError, match=r"another node has replaced the model's forward.*put it before"):
        sample_toy(model, sampler)


def test_our_sampler_alone_names_a_patch_of_another_pack(toy, caplog, our_sampler, sample_toy):
    expected = sample_toy(toy, our_sampler())
    model, calls = other_pack(toy)
    torch.testing.assert_close(sample_toy(model, our_sampler()), expected, **EXACT)
    assert not calls and "halved_forward" in caplog.text


def test_attention_overrides_see_the_options_of_their_own_pass(toy, sampler, sample_toy):
    model, levels = dense(toy), []

    def override(attention, *args, **kwargs):
        levels.append(float(kwargs["transformer_options"]["sigmas"]))
        return attention(*args, **kwargs)

    model.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = override
    sample_toy(model, sampler)
    calls = 2 * len(backbone(toy).blocks)  # self- and cross-attention
    assert levels == pytest.approx(3 * [level for level in (1.0, 0.8, 0.0) for _ in range(calls)])


# Bad input


def test_every_node_refuses_a_model_that_is_not_autoregressive(toy, our_sampler, sample_toy):
    plain, (positive, vae) = toy.clone(), ToyWorld.execute("a red circle moving left").args[:2]
    plain.add_object_patch("diffusion_model", torch.nn.Linear(2, 2))
    stream, profile = (node.PREPARE_CLASS_CLONE(None) for node in (StreamARVideo, ProfileDummyHeads))
    for use in (
        lambda: stream.execute(plain, positive, vae, 0, 0, 33, 0),
        lambda: profile.execute(plain, {"positive_0": positive}, 0, 0, 3, 0, 0.5),
        lambda: ARModelInfoNode.execute(plain, 0, 0, 81),
    ):
        with pytest.raises(DummyForcingError, match=r"not autoregressive.*Load AR Video Model"):
            use()


@pytest.mark.parametrize("patch", [lambda model: model, dense, forced])
def test_a_latent_that_is_no_video_is_refused_also_by_a_patched_model(golden_model, patch, sampler, sample):
    with pytest.raises((DummyForcingError, ValueError), match=r"video latent"):
        sample(patch(golden_model), sampler, latent=torch.zeros(1, 16, 8, 12))


@pytest.mark.parametrize("patch", [dense, forced])
def test_a_prompt_of_another_text_encoder_is_refused(toy, patch, sampler, sample):
    """The golden model's prompt has 32 channels, the toy world's 16."""
    with pytest.raises(DummyForcingError, match=r"32 wide, the model's 16; use umT5.*Toy World"):
        sample(patch(toy), sampler, frames=3)
