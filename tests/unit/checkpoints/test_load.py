import pytest
import torch
from backbones import backbone_fingerprint, load_backbone

from dummy_forcing.core.checkpoints.load import load_vae
from dummy_forcing.core.decoders.vae_stream import VAEState, decode_chunk
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape

WRAPPERS = ("", "model.", "net.", "module.", "model.diffusion_model.", "diffusion_model.", "model._orig_mod.")


def assert_weights(module, state):
    found = module.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_the_golden_backbone(golden_file, golden_state):
    backbone = load_backbone(golden_file)
    assert backbone.shape == WanShape(dim=128, heads=4, layers=4, ffn_dim=256, text_dim=32)
    assert not backbone.training
    assert not any(weight.requires_grad for weight in backbone.parameters())
    assert_weights(backbone, golden_state)


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_wrapped_backbones(save, golden_state, prefix):
    path = save({prefix + name: value for name, value in golden_state.items()})
    assert_weights(load_backbone(path), golden_state)


def test_wrappers_inside_names(save, golden_state):
    def wrapped(name):
        return "model._fsdp_wrapped_module." + name.replace(".self_attn.", "._fsdp_wrapped_module.self_attn.")

    path = save({wrapped(name): value for name, value in golden_state.items()})
    assert_weights(load_backbone(path), golden_state)


def test_the_file_of_the_authors(tmp_path, golden_state):
    path = tmp_path / "self_forcing_dmd.pt"
    torch.save({"generator_ema": {f"model.{name}": value for name, value in golden_state.items()}}, path)
    assert_weights(load_backbone(path), golden_state)


def test_the_backbone_of_an_all_in_one_checkpoint(save, golden_state, tiny_vae):
    state = {f"model.diffusion_model.{name}": value for name, value in golden_state.items()}
    state |= {f"vae.{name}": value for name, value in tiny_vae.state_dict().items()}
    assert_weights(load_backbone(save(state)), golden_state)


def test_weights_are_cast(golden_file, golden_state):
    assert_weights(
        load_backbone(golden_file, dtype=torch.bfloat16),
        {name: value.bfloat16() for name, value in golden_state.items()},
    )


def test_weights_outlive_their_file(save, golden_state):
    path = save(golden_state)
    backbone = load_backbone(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert_weights(backbone, golden_state)


def test_a_backbone_in_shards_beside_its_vae(tmp_path, save, golden_state, vae_file):
    names = sorted(golden_state)
    save({name: golden_state[name] for name in names[:50]}, "a.safetensors", None)
    save({name: golden_state[name] for name in names[50:]}, "b.safetensors")
    assert_weights(load_backbone(tmp_path), golden_state)


@pytest.mark.parametrize(
    ("metadata", "heads"),
    [
        (None, 2),
        ({"format": "pt"}, 2),
        ({"config": '{"transformer": {"causal_ar": true}}'}, 2),
        ({"config": '{"num_heads": 8}'}, 8),
        ({"config": '{"num_heads": 8, "transformer": {"num_heads": 4}}'}, 4),
    ],
)
def test_heads_come_from_metadata_or_are_128_wide(save, metadata, heads):
    state = CausalWan(WanShape(dim=256, heads=2, layers=1, ffn_dim=8, text_dim=8)).state_dict()
    assert load_backbone(save(state, metadata=metadata)).num_heads == heads


def test_unknown_heads(save, golden_state, refused):
    state = CausalWan(WanShape(dim=48, heads=4, layers=1, ffn_dim=8, text_dim=8)).state_dict()
    with refused("number of heads", "num_heads"):
        load_backbone(save(state, metadata=None))


@pytest.mark.parametrize(
    "config",
    ["", "{", "[]", "3", '{"transformer": 4}', '{"num_heads": "4"}', '{"num_heads": 4.0}', '{"num_heads": true}',
     '{"num_heads": 0}', '{"num_heads": -4}', '{"num_heads": 3}'],
)  # fmt: skip
def test_a_wrong_config(save, golden_state, refused, config):
    with refused("metadata", "correct"):
        load_backbone(save(golden_state, metadata={"config": config}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks.1.norm3.bias": None}, ["lacks 'blocks.1.norm3.bias'"]),
        ({"patch_embedding.weight": None}, ["only a part of a Wan backbone", "'patch_embedding.weight'"]),
        ({"blocks.2.ffn.2.bias": torch.ones(128, dtype=torch.complex64)}, ["complex64", "use an unchanged"]),
        ({"img_emb.proj.0.weight": torch.ones(2)}, ["image-to-video model", "it has 'img_emb.proj.0.weight'"]),
        ({"blocks.x.bias": torch.ones(2)}, ["damaged tensors"]),
        ({"blocks.99999999.modulation": torch.ones(2)}, ["lacks most of its 100000000 layers"]),
        ({"blocks.7.modulation": torch.ones(2)}, ["lacks 'blocks.4."]),
        ({"blocks.2.ffn.2.bias": torch.ones(3)}, ["1 tensors of the wrong shape", "[3] instead of [128]"]),
        ({"patch_embedding.weight": torch.ones(128)}, ["damaged tensors"]),
        ({"head.head.weight": torch.tensor(1.0)}, ["damaged tensors"]),
        ({"patch_embedding.weight": torch.ones(0, 16, 1, 2, 2)}, ["floating-point weights"]),
        ({"blocks.2.ffn.2.bias": torch.ones(128, dtype=torch.int8)}, ["torch.int8", "not quantised"]),
        ({"model.blocks.2.ffn.2.bias": torch.ones(128)}, ["two copies"]),
    ],
)
def test_other_tensors(save, golden_state, refused, changes, words):
    state = {name: value for name, value in (golden_state | changes).items() if value is not None}
    with refused(*words):
        load_backbone(save(state))


def test_files_that_are_no_backbone(tmp_path, refused, vae_file):
    with refused("is not a Wan backbone but a Wan VAE"):
        load_backbone(vae_file)
    with refused("there is no file"):
        load_backbone(tmp_path / "none.safetensors")
    (tmp_path / "empty").mkdir()
    with refused("no .safetensors file"):
        load_backbone(tmp_path / "empty")


def test_the_fingerprint_knows_the_weights(golden_file, save, golden_state):
    fingerprint = backbone_fingerprint(load_backbone(golden_file))
    assert fingerprint == backbone_fingerprint(load_backbone(golden_file))
    assert fingerprint == backbone_fingerprint(load_backbone(golden_file, dtype=torch.bfloat16))
    cast = {name: value.bfloat16() for name, value in golden_state.items()}
    assert fingerprint == backbone_fingerprint(load_backbone(save(cast)))
    for name in ("blocks.3.modulation", "head.modulation"):
        other = save(golden_state | {name: golden_state[name] + 0.1}, "other.safetensors")
        assert fingerprint != backbone_fingerprint(load_backbone(other))
    other = save(golden_state, metadata={"config": '{"num_heads": 2}'})
    assert fingerprint != backbone_fingerprint(load_backbone(other))


def test_a_vae_survives_the_file(vae_file, tiny_vae):
    vae = load_vae(vae_file)
    assert vae.shape == tiny_vae.shape
    assert not vae.training
    assert_weights(vae, tiny_vae.state_dict())
    latents = torch.randn(1, 16, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(decode_chunk(vae, latents, VAEState()), decode_chunk(tiny_vae, latents, VAEState()))


@pytest.mark.parametrize(
    ("dropped", "words"),
    [("encoder.", ["lacks 'encoder.", "more"]), ("decoder.head.0.gamma", ["not a Wan 2.1 VAE"])],
)
def test_an_incomplete_vae(save, tiny_vae, refused, dropped, words):
    state = {name: value for name, value in tiny_vae.state_dict().items() if not name.startswith(dropped)}
    with refused(*words):
        load_vae(save(state))


def test_a_vae_of_mixed_widths(save, tiny_vae, refused):
    with refused("wrong shape", "'conv1.bias' is [9] instead of [32]"):
        load_vae(save(tiny_vae.state_dict() | {"conv1.bias": torch.ones(9)}))


def test_a_backbone_is_no_vae(golden_file, refused):
    with refused("is a Wan backbone: not a Wan 2.1 VAE"):
        load_vae(golden_file)
