"""The patch nodes on the real CausalWanModel: same numbers as core's, isolated clones, nothing left behind."""

import gc
import weakref

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory.store import FrameStore
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.host.chunk_forward import RUN_KEY
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.kv_quantisation_patch import ARKVQuantisation
from dummy_forcing.nodes.patches.kv_window import ARKVWindow
from dummy_forcing.nodes.patches.light_forcing_patch import FREE, LightForcingPatch
from dummy_forcing.nodes.patches.pass_skip_patch import BY_LIST, ARPassSkip
from dummy_forcing.nodes.patches.temp_cache_patch import TempCachePatch

EXACT = {"atol": 1e-5, "rtol": 0}


def dense(model):
    return door.with_memory(model, MemoryConfig())


def forced(model, **options):
    return DummyForcingPatch.execute(model, **{"dummy_ratio": 0.5, "local_context": 1, **options}).args[0]


def test_this_comfyui_has_all_we_need():
    assert door.missing_symbols() == []


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("batch", [1, 2])
def test_core_and_our_sampler_agree_under_every_memory(golden_model, cfg, batch, sample, core_sampler, our_sampler):
    for model in (dense(golden_model), forced(golden_model), ARKVWindow.execute(golden_model, 6, 1).args[0]):
        ours = sample(model, our_sampler(), cfg=cfg, batch=batch)
        torch.testing.assert_close(ours, sample(model, core_sampler(), cfg=cfg, batch=batch), **EXACT)


def test_dense_memory_equals_core(golden_model, sample, core_sampler, our_sampler):
    expected = sample(golden_model, core_sampler())
    torch.testing.assert_close(sample(dense(golden_model), core_sampler()), expected, **EXACT)
    torch.testing.assert_close(sample(dense(golden_model), our_sampler()), expected, **EXACT)
    torch.testing.assert_close(sample(golden_model, our_sampler()), expected, **EXACT)


def test_conditional_and_unconditional_passes_have_caches_of_their_own(golden_model, sample, our_sampler):
    """x0 = uncond + cfg * (cond - uncond): with one prompt on both sides CFG changes nothing."""
    model = dense(golden_model)
    expected = sample(model, our_sampler())
    torch.testing.assert_close(sample(model, our_sampler(), cfg=4.0, negative=1.0), expected, atol=1e-4, rtol=0)


def test_a_window_as_long_as_the_video_is_dense(golden_model, sample, core_sampler):
    model = ARKVWindow.execute(golden_model, 24, 3).args[0]
    torch.testing.assert_close(sample(model, core_sampler()), sample(golden_model, core_sampler()), **EXACT)


def test_patching_one_branch_leaves_the_other_bit_equal(golden_model, sample, core_sampler):
    before = sample(golden_model, core_sampler())
    patched = forced(golden_model)
    assert not torch.equal(sample(patched, core_sampler()), before)
    assert torch.equal(sample(golden_model, core_sampler()), before)


def test_patching_twice_replaces(golden_model, sample, core_sampler):
    twice = ARKVWindow.execute(forced(golden_model), 6, 1).args[0]
    once = ARKVWindow.execute(golden_model, 6, 1).args[0]
    assert torch.equal(sample(twice, core_sampler()), sample(once, core_sampler()))
    assert door.memory_config(twice) == door.memory_config(once)


@pytest.mark.parametrize("chunk", [1, 3])
def test_start_image(golden_model, chunk, sample, core_sampler, our_sampler):
    model = golden_model.clone()
    opening = sample(golden_model, core_sampler())[:, :, :1]
    model.model_options.setdefault("transformer_options", {})["ar_config"] = {"initial_latent": opening}
    expected = sample(model, core_sampler(chunk), frames=7 if chunk == 3 else 5)
    for patched in (dense(model), model):
        found = sample(patched, our_sampler(chunk), frames=7 if chunk == 3 else 5)
        torch.testing.assert_close(found, expected, **EXACT)
    assert torch.equal(found[:, :, :1], opening) or torch.allclose(found[:, :, :1], opening, atol=1e-5)
    shortened = sample(forced(model), core_sampler(chunk), frames=7 if chunk == 3 else 5)
    assert shortened.isfinite().all()


def test_a_ragged_last_block_of_core(golden_model, sample, core_sampler):
    expected = sample(golden_model, core_sampler(), frames=8)
    torch.testing.assert_close(sample(dense(golden_model), core_sampler(), frames=8), expected, **EXACT)


def test_video_to_video(golden_model, sample, core_sampler, our_sampler):
    source = sample(golden_model, core_sampler(), frames=6)
    expected = sample(golden_model, core_sampler(), latent=source, truncate=5)
    for model, sampler in ((dense(golden_model), core_sampler()), (golden_model, our_sampler())):
        torch.testing.assert_close(sample(model, sampler, latent=source, truncate=5), expected, **EXACT)


def test_odd_latent_sizes_are_padded_and_cut(golden_model, sample, core_sampler):
    """Core pads too, but forgets to cut."""
    found = sample(dense(golden_model), core_sampler(), frames=6, size=(7, 9))
    assert found.shape == (1, 16, 6, 7, 9) and found.isfinite().all()


def test_our_sampler_refuses_odd_latent_sizes(golden_model, sample, our_sampler):
    with pytest.raises(DummyForcingError, match="multiples of 16 pixels"):
        sample(golden_model, our_sampler(), frames=6, size=(7, 9))


def test_attention_overrides_of_other_packs_are_honoured(golden_model, sample, core_sampler):
    model, calls = dense(golden_model), []

    def override(attention, *args, **kwargs):
        calls.append(kwargs["heads"] if "heads" in kwargs else args[3])
        return attention(*args, **kwargs)

    model.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = override
    expected = sample(golden_model, core_sampler(), frames=3)
    torch.testing.assert_close(sample(model, core_sampler(), frames=3), expected, **EXACT)
    assert len(calls) == 5 * 4 * 2  # passes, layers, self- and cross-attention


@pytest.mark.parametrize("maker", ["core_sampler", "our_sampler"])
def test_nothing_is_held_after_success_error_and_interrupt(golden_model, host, maker, monkeypatch, sample, request):
    """The keys and values are gone as soon as sampling is over, whatever ended it."""
    stores, allocate = [], FrameStore._allocate

    def watched(self, slots):
        allocate(self, slots)
        stores.append(weakref.ref(self.k))

    def failing(error):
        def callback(*_):
            raise error()

        return callback

    monkeypatch.setattr(FrameStore, "_allocate", watched)
    model, make = forced(golden_model), request.getfixturevalue(maker)
    sample(model, make(), frames=9)
    for error in (RuntimeError, host.InterruptProcessingException):
        with pytest.raises(error):
            sample(model, make(), frames=9, callback=failing(error))
    gc.collect()
    assert stores and all(store() is None for store in stores)
    assert not model.model_options["transformer_options"].get(RUN_KEY)


def test_the_host_leaves_room_for_keys_and_values(golden_model, host, monkeypatch, sample, core_sampler):
    asked, load = [], host.load_models_gpu

    def watched(*args, **options):
        asked.append(options["memory_required"])
        return load(*args, **options)

    monkeypatch.setattr(host, "load_models_gpu", watched)
    sample(dense(golden_model), core_sampler(), frames=30)
    sample(forced(golden_model), core_sampler(), frames=30)
    sample(ARKVWindow.execute(golden_model, 6, 1).args[0], core_sampler(), frames=300)
    kv = 2 * 4 * (30 * 24) * 128 * 4  # k and v, layers, tokens, width, fp32
    assert asked[0] > kv
    assert asked[1] < asked[0]
    assert asked[2] < asked[0]


@pytest.mark.parametrize("order", ["lora first", "patch first"])
def test_loras_may_come_before_or_after(golden_model, order, sample, core_sampler):
    lora = {("diffusion_model.blocks.1.self_attn.q.weight"): (torch.ones(128, 128) * 0.02,)}

    def with_lora(model):
        clone = model.clone()
        assert clone.add_patches({name: ("diff", value) for name, value in lora.items()}, 1.0)
        return clone

    changed = sample(with_lora(golden_model), core_sampler(), frames=6)
    model = dense(with_lora(golden_model)) if order == "lora first" else with_lora(dense(golden_model))
    torch.testing.assert_close(sample(model, core_sampler(), frames=6), changed, **EXACT)
    assert not torch.allclose(changed, sample(golden_model, core_sampler(), frames=6), atol=1e-3)


def test_other_samplers_still_run_on_a_patched_model(golden_model, sample):
    import comfy.samplers

    euler = comfy.samplers.ksampler("euler")
    torch.testing.assert_close(sample(forced(golden_model), euler), sample(golden_model, euler), **EXACT)


def test_a_model_that_is_not_autoregressive_is_refused(golden_model):
    plain = golden_model.clone()
    plain.add_object_patch("diffusion_model", torch.nn.Linear(2, 2))
    for node, options in ((DummyForcingPatch, (0.5, 1)), (ARKVWindow, (12, 3))):
        with pytest.raises(DummyForcingError, match=r"not autoregressive.*Load AR Video Model"):
            node.execute(plain, *options)


@pytest.mark.parametrize("shape", [(1, 16, 8, 12), (1, 16, 21)])
def test_a_latent_of_the_wrong_rank_is_refused(golden_model, shape, sample, our_sampler):
    with pytest.raises(DummyForcingError, match="Empty AR Video Latent"):
        sample(golden_model, our_sampler(), latent=torch.zeros(shape))


MEMORIES = {
    "dense": dense,
    "dummy forcing": forced,
    "window": lambda model: ARKVWindow.execute(model, 6, 1).args[0],
    "8 bits": lambda model: ARKVQuantisation.execute(model, "int8").args[0],
    "light forcing": lambda model: LightForcingPatch.execute(model, {"preset": FREE, "sparsity": 0.5}).args[0],
    "temp cache": lambda model: TempCachePatch.execute(model, 0.9, 6).args[0],
    "pass skip": lambda model: ARPassSkip.execute(model, {"skip": BY_LIST, "passes": "2"}).args[0],
}


@pytest.mark.parametrize("frames", [2, 20])
@pytest.mark.parametrize("name", MEMORIES)
def test_a_ragged_last_block_under_every_memory(golden_model, name, frames, sample, core_sampler, our_sampler):
    """77 video frames are 20 latent ones; 5, fewer than a chunk, are 2."""
    model = MEMORIES[name](golden_model)
    torch.testing.assert_close(
        sample(model, our_sampler(), frames=frames), sample(model, core_sampler(), frames=frames), **EXACT
    )


@pytest.mark.parametrize("frames", [2, 4, 20])
def test_a_ragged_last_block_is_that_of_core(golden_model, frames, sample, core_sampler, our_sampler):
    expected = sample(golden_model, core_sampler(), frames=frames)
    torch.testing.assert_close(sample(golden_model, our_sampler(), frames=frames), expected, atol=1e-4, rtol=0)


@pytest.fixture
def custom(golden):
    """A function that runs SamplerCustomAdvanced, as people do, and gives the latents that come out."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import DisableNoise, RandomNoise, SamplerCustomAdvanced

    def run(model, sampler, sigmas, latent, noise=True):
        guider = comfy.samplers.CFGGuider(model)
        guider.inner_set_conds({"positive": [[golden("dense")["context"], {}]]})
        source = (RandomNoise.execute(3) if noise else DisableNoise.execute()).args[0]
        return SamplerCustomAdvanced.execute(source, guider, sampler, sigmas, latent).args[0]

    return run


def empty_video(length):
    from comfy_extras.nodes_ar_video import EmptyARVideoLatent

    return EmptyARVideoLatent.execute(96, 64, length, 1).args[0]


def sigmas_of(model, steps=4):
    import comfy.samplers

    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)


@pytest.mark.parametrize("patch", [dense, forced])
def test_split_sigmas_in_two_samplings_are_those_of_core(golden_model, patch, custom, core_sampler, our_sampler):
    """On a patched model: without a patch, core's sampler rewinds its cache once too often and fails."""
    from comfy_extras.nodes_custom_sampler import SplitSigmas

    model = patch(golden_model)
    high, low = SplitSigmas.execute(sigmas_of(model), 2).args
    assert high[-1] > 0
    made = []
    for sampler in (core_sampler(), our_sampler()):
        first = custom(model, sampler, high, empty_video(29))
        made.append((first["samples"], custom(model, sampler, low, first, noise=False)["samples"]))
    torch.testing.assert_close(made[1], made[0], atol=1e-4, rtol=0)


def test_the_second_half_adds_no_noise_of_its_own(golden_model, custom):
    """Disable Noise under the portable rule, which draws its own noise otherwise: one pass down to 0 gives what
    the model predicts of the latents, whatever the seed."""
    from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler

    latent = {"samples": torch.randn(1, 16, 3, 8, 12, generator=torch.Generator().manual_seed(0))}
    levels = torch.tensor([0.6, 0.0])
    found, expected = (
        custom(golden_model, ARStreamingSampler(3, rule), levels, latent, noise=False)["samples"]
        for rule in ("portable", "ComfyUI")
    )
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("patch", [lambda model: model, dense])
@pytest.mark.parametrize("batch", [1, 81])
def test_an_empty_latent_image_is_told_what_is_needed(golden_model, patch, batch, custom, our_sampler):
    from nodes import EmptyLatentImage

    (latent,) = EmptyLatentImage().generate(96, 64, batch)
    with pytest.raises(
        DummyForcingError, match=r"single picture; AR streaming needs a video.*Empty AR Video Latent"
    ):
        custom(patch(golden_model), our_sampler(), sigmas_of(golden_model), latent)


def test_latents_of_another_model_are_told_what_is_needed(golden_model, custom, core_sampler, our_sampler):
    latent = {"samples": torch.ones(1, 4, 3, 8, 12)}
    for sampler in (core_sampler(), our_sampler()):
        with pytest.raises(DummyForcingError, match=r"4 channels, the model's have 16; AR streaming needs"):
            custom(dense(golden_model), sampler, sigmas_of(golden_model), latent)


def test_options_travel_as_json(golden_model):
    config = door.memory_config(forced(golden_model, cost="paper", packed_frames=2))
    assert config == MemoryConfig(DummyForcing(cost="paper", packed_frames=2), Relative(21))
    assert MemoryConfig.from_dict(config.to_dict()) == config
