"""The authors' own latents, through the nodes, with core's sampler and with ours."""

import comfy.samplers
import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.profile import HeadProfile
from dummy_forcing.nodes.host.patched_models import memory_config
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler
from dummy_forcing.nodes.video.model_facts import facts_of

TOLERANCE = 1e-4
PASSES = 3


@pytest.fixture
def run(golden_model, monkeypatch):
    """A function that samples with a golden run's noise; returns latents in the model's scale."""

    def sample(model, sampler, tensors):
        fresh = iter(tensors["fresh_noise"].flatten(0, 1))
        if isinstance(sampler, ARStreamingSampler):
            monkeypatch.setattr("torch.randn", lambda *_, **__: next(fresh))
        else:
            monkeypatch.setattr("torch.randn_like", lambda _: next(fresh))
        guider = comfy.samplers.CFGGuider(model)
        guider.inner_set_conds({"positive": [[tensors["context"], {}]]})
        latent = torch.zeros_like(tensors["noise"])
        out = guider.sample(tensors["noise"], latent, sampler, tensors["sigmas"], disable_pbar=True, seed=0)
        assert next(fresh, None) is None
        return model.model.process_latent_in(out)

    return sample


def golden_profile(model, tensors):
    facts = facts_of(model)
    return HeadProfile(
        fingerprint=facts.fingerprint,
        shape=facts.shape.to_dict(),
        prompts=("golden",),
        seeds=(0,),
        latent_size=(8, 12),
        method={"dummy_ratio": 0.5, "cost": "normalised"},
        masses=tensors["scores"],
        roles=tensors["head_roles"],
    )


@pytest.mark.parametrize("sampler", ["core_sampler", "our_sampler"])
def test_golden_dummy_forcing(golden_model, golden, run, sampler, request):
    tensors = golden("dummy_forcing_50")
    profile = golden_profile(golden_model, tensors)
    patched = DummyForcingPatch.execute(golden_model, 0.5, 1, profile=profile).args[0]
    found = run(patched, request.getfixturevalue(sampler)(), tensors)
    assert (found - tensors["latents"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("sampler", ["core_sampler", "our_sampler"])
def test_golden_dense(golden_model, golden, run, sampler, request):
    tensors = golden("dense")
    found = run(golden_model, request.getfixturevalue(sampler)(), tensors)
    assert (found - tensors["latents"]).abs().max() <= TOLERANCE


def test_another_ratio_than_the_profiles_is_programmed_from_its_masses(golden_model, golden):
    tensors = golden("dummy_forcing_50")
    patched = DummyForcingPatch.execute(golden_model, 0.25, 1, profile=golden_profile(golden_model, tensors)).args[
        0
    ]
    roles = torch.tensor(memory_config(patched).keep.roles)
    assert (roles == 2).sum() == 4


def test_a_profile_of_another_model_is_refused(golden_model, toy_model, golden):
    profile = golden_profile(golden_model, golden("dummy_forcing_50"))
    with pytest.raises(DummyForcingError, match="measured on another model"):
        DummyForcingPatch.execute(toy_model, 0.5, 1, profile=profile)
