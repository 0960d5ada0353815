"""Toy World: with it and the built-in model a workflow runs without any download."""

import pytest
import torch

from dummy_forcing.core.decoders.vae_stream import VAEState, decode_chunk
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.core.world.vocabulary import COLOURS, DIRECTIONS, EXAMPLE, SHAPES, embed_prompt
from dummy_forcing.nodes.video.load_model import TOY_WORLD, LoadARVideoModel
from dummy_forcing.nodes.video.toy_world import ToyWorld


@pytest.fixture
def vae(host):
    return ToyWorld.execute(EXAMPLE).args[1]


def test_the_schema():
    schema = ToyWorld.GET_SCHEMA()
    schema.validate()
    assert all(part.tooltip for part in (*schema.inputs, *schema.outputs))
    assert schema.inputs[0].default == EXAMPLE


def test_the_prompt(host):
    ((embedding, extra),) = ToyWorld.execute("a red circle moving left").args[0]
    assert torch.equal(embedding, embed_prompt("a red circle moving left"))
    assert extra == {}


def test_an_unknown_word_is_answered_with_the_vocabulary():
    with pytest.raises(DummyForcingError) as caught:
        ToyWorld.execute("a red dragon moving left")
    said = str(caught.value)
    assert "'dragon'" in said
    assert [word for word in (*COLOURS, *SHAPES, *DIRECTIONS) if word not in said] == []


@pytest.mark.parametrize("prompt", ["", "red", "a red circle moving left and a red square moving up"])
def test_other_bad_prompts(prompt):
    with pytest.raises(DummyForcingError, match=r"write for example|different colours"):
        ToyWorld.execute(prompt)


def test_the_vae_is_comfyui_s_own_and_decodes_as_ours(vae):
    import comfy.sd

    assert type(vae) is comfy.sd.VAE
    latents = torch.randn(1, 16, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    ours = decode_chunk(open_toy_world().vae, latents, VAEState())
    theirs = vae.decode(latents)
    assert theirs.shape == (1, 9, 96, 96, 3)
    torch.testing.assert_close(theirs, ours.movedim(1, -1).add(1).div(2).clamp(0, 1), atol=1e-3, rtol=0)


def test_the_vae_encodes(vae):
    assert vae.encode(torch.rand(9, 96, 96, 3)).shape == (1, 16, 3, 12, 12)


def test_the_vae_can_be_cloned_to_another_device(vae):
    clone = vae.patcher.deepclone_multigpu(torch.device("cpu"))
    assert clone.model is not vae.patcher.model
    assert clone.model.state_dict().keys() == vae.patcher.model.state_dict().keys()


def test_missing_weights(tmp_path, monkeypatch):
    from dummy_forcing.core.world import toy

    monkeypatch.setattr(toy, "WEIGHTS", tmp_path)
    with pytest.raises(DummyForcingError, match=r"weights are missing.*install the pack again"):
        ToyWorld.execute(EXAMPLE)


def test_a_video_with_comfyui_s_own_sampler(host):
    """One chunk shows what the prompt says: something yellow and something cyan on a dark ground."""
    import comfy.samplers

    model = LoadARVideoModel.execute(TOY_WORLD, "auto", "default").args[0]
    positive, vae = ToyWorld.execute(EXAMPLE).args[:2]
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, positive)
    guider.set_cfg(1.0)
    noise = torch.randn(1, 16, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    sampler = comfy.samplers.ksampler("ar_video", {"num_frame_per_block": 3})
    sigmas = torch.tensor([1.0, 0.9375, 0.8333, 0.625, 0.0])
    latents = guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=1, disable_pbar=True)
    frames = vae.decode(latents)
    assert frames.shape == (1, 9, 96, 96, 3)
    red, green, blue = frames[0, -1].unbind(-1)
    yellow = (red > 0.6) & (green > 0.6) & (blue < 0.4)
    cyan = (red < 0.4) & (green > 0.6) & (blue > 0.6)
    assert yellow.sum() > 20 and cyan.sum() > 20
