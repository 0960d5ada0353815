"""Every family in the real ComfyUI: from its published file through the node to video, and core's view of it."""

import pytest
import torch
from published_layouts import CAUSAL as OF_CORE
from published_layouts import PUBLISHED, SHAPE, backbone_state, name_of

from dummy_forcing.core.checkpoints.convert import convert
from dummy_forcing.core.checkpoints.core_comfyui import BIDIRECTIONAL, CAUSAL, NOTHING, loaded_as
from dummy_forcing.core.checkpoints.families.running import family_loop, family_memory
from dummy_forcing.core.checkpoints.families.table import AUTO, FAMILIES, family
from dummy_forcing.core.checkpoints.files.checkpoint_files import checkpoint_files, read_checkpoint
from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.checkpoints.opened import open_backbone
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler
from dummy_forcing.nodes.video.load_model import NO_LORA, LoadARVideoModel
from dummy_forcing.nodes.video.model_facts import model_facts

SIZE = (4, 6)
NAMES = [name for name in FAMILIES if name != "toy-world"]


@pytest.fixture(scope="module")
def state():
    return backbone_state()


@pytest.fixture
def save(model_folders, state):
    """Writes a published file into the folders; returns its path and its LoRA's."""
    return lambda published: published.save(model_folders / "diffusion_models", model_folders / "loras", state)


@pytest.fixture
def load(model_folders):
    """Loads files of the folders through the node."""

    def run(path, lora=None, chosen=AUTO):
        name = path.relative_to(model_folders / "diffusion_models").as_posix()
        return LoadARVideoModel.execute(name, chosen, "default", NO_LORA if lora is None else lora.name).args[0]

    return run


def loaded_weights(model):
    import comfy.model_management as management

    management.load_models_gpu([model])
    return {name: value.float() for name, value in model.get_model_object("diffusion_model").state_dict().items()}


@pytest.mark.parametrize("published", PUBLISHED, ids=name_of)
def test_detection_and_loading(host, save, load, state, published):
    model = load(*save(published))
    assert model_facts(model).family.name == published.family
    found, expected = loaded_weights(model), published.expected(state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5)


def sample(model, context, sampler, sigmas, frames, seed=0):
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds([[context, {}]], [[context, {}]])
    guider.set_cfg(1.0)
    latent = torch.zeros(1, 16, frames, *SIZE)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed))
    return guider.sample(noise, latent, sampler, torch.tensor(sigmas), seed=seed, disable_pbar=True)


@pytest.fixture(scope="module")
def context():
    return torch.randn(1, 5, SHAPE.text_dim, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", NAMES)
def test_two_chunks_are_those_of_plain_core(host, save, load, context, name):
    path, lora = save(next(each for each in PUBLISHED if each.family == name))
    row = family(name)
    frames = 2 * row.chunk_frames
    sampler = ARStreamingSampler(row.chunk_frames)
    ours = sample(load(path, lora), context, sampler, row.sigmas, frames)

    plain = open_checkpoint(path, lora=lora)
    options = family_loop(row).options(row.sigmas)
    config = StreamConfig(row.sigmas, row.chunk_frames, frames, SIZE, memory=family_memory(row), **options)
    events = stream_video(plain.backbone, context, config, SeededNoise(0))
    chunks = [event.latents for event in events if isinstance(event, ChunkDone)]
    raw = load(path, lora).model.process_latent_out(torch.cat(chunks, dim=2))
    torch.testing.assert_close(ours, raw, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("published", PUBLISHED, ids=name_of)
def test_core_loads_what_convert_writes(host, save, load, state, context, core_sampler, model_folders, published):
    import comfy.sd

    path, lora = save(published)
    new = model_folders / "diffusion_models" / "of another name.safetensors"
    convert(open_backbone(path, lora=lora), new)
    alone = comfy.sd.load_diffusion_model(str(new))
    assert type(alone.model).__name__ == "WAN21_CausalAR"
    assert type(alone.get_model_object("diffusion_model")).__name__ == "CausalWanModel"
    meant = comfy.sd.load_diffusion_model_state_dict(published.expected(state), metadata=OF_CORE)
    chunk = family(published.family).chunk_frames
    sigmas = (1.0, 0.625, 0.0)
    found, expected = (sample(model, context, core_sampler(chunk), sigmas, 2 * chunk) for model in (alone, meant))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(found, expected) or published.expected is not dict
    info = model_facts(load(new))
    assert (info.family.name, info.reason) == (published.family, "the file's metadata says so")


@pytest.fixture(scope="module")
def real_text(state):
    """With text as wide as umT5's, which ComfyUI takes for granted where no metadata says otherwise."""
    return state | {"text_embedding.0.weight": torch.zeros(SHAPE.dim, 4096)}


@pytest.mark.parametrize("published", [each for each in PUBLISHED if not each.metadata], ids=name_of)
def test_what_core_makes_of_a_file_is_predicted(host, tmp_path, real_text, published):
    import comfy.sd

    path, _ = published.save(tmp_path, tmp_path, real_text)
    said = loaded_as(path, *read_checkpoint(path), len(checkpoint_files(path)))
    try:
        model = comfy.sd.load_diffusion_model(str(path))
    except Exception:
        model = None
    if said == NOTHING:
        assert model is None or any_missing(model, path)
    else:
        causal = hasattr(model.get_model_object("diffusion_model"), "init_kv_caches")
        assert said == (CAUSAL if causal else BIDIRECTIONAL)


def any_missing(model, path):
    """Whether weights of the model are not in the one file."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return len(list(file.keys())) < len(model.model_state_dict())


def refused(load, *args, **options):
    with pytest.raises(DummyForcingError) as caught:
        load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def published(file, lora=None):
    return next(each for each in PUBLISHED if each.file == file and (each.lora or (None,))[0] == lora)


def test_loras_that_are_missing_doubled_or_anothers(save, load, model_folders):
    base, lora = save(published("longlive_base.pt", "lora.pt"))
    said = refused(load, base)
    assert "'lora.pt'" in said and "Efficient-Large-Model/LongLive-1.3B" in said
    own = base.rename(base.with_name("longlive_merged.pt"))
    assert "twice" in refused(load, own, lora)
    assert model_facts(load(own)).family.name == "longlive"
    other, _ = save(published("self_forcing_dmd.pt"))
    assert "belongs to longlive" in refused(load, other, lora)
    _, of_raven = save(published("raven_model.pt", "cmgrpo_raven_lora.safetensors"))
    for file in ("cmgrpo_raven_merge.pt", "cmgrpo_raven_full.pt"):
        assert "twice" in refused(load, save(published(file))[0], of_raven)


def test_shards(save, load, state):
    path, _ = save(next(each for each in PUBLISHED if each.shards > 1))
    for shard in path.parent.glob("*.safetensors"):
        assert load(shard).model.model_config.unet_config["dim"] == SHAPE.dim
    first, *others = sorted(path.parent.glob("*.safetensors"))
    others[-1].write_bytes(others[-1].read_bytes()[:-100])
    assert "cut short" in refused(load, first)
    others[-1].unlink()
    assert f"lacks {others[-1].name} of the 3 shards" in refused(load, first)
    next(path.parent.glob("*.json")).unlink()
    assert f"lacks {others[-1].name} of the 3 shards" in refused(load, first)
