"""Nodes of others on the same model or prompt: what has no effect is said, what would break a stream is refused."""

import logging
import re

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler
from dummy_forcing.nodes.video.load_model import AUTO, NO_LORA, TOY_WORLD, open_model
from dummy_forcing.nodes.video.model_info import ARModelInfoNode
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld

EXACT = {"atol": 1e-5, "rtol": 0}
LEVELS = (1.0, 0.9, 0.6, 0.0)


def forced(model):
    return DummyForcingPatch.execute(model, 0.5, 1).args[0]


@pytest.fixture(params=["core_sampler", "our_sampler"])
def sampler(request):
    """Core's AR sampler, then ours."""
    return request.getfixturevalue(request.param)()


@pytest.fixture
def context(golden):
    return golden("dense")["context"]


@pytest.fixture
def go(golden_model, context):
    """A function that samples three chunks of the golden model."""
    import comfy.samplers

    noise = torch.randn(1, 16, 9, 8, 12, generator=torch.Generator().manual_seed(0))

    def run(sampler, change=lambda model: model, prompt=None, negative=None, cfg=1.0, levels=LEVELS, patch=forced):
        guider = comfy.samplers.CFGGuider(change(patch(golden_model)))
        guider.set_conds([[context, {}]] if prompt is None else prompt, negative or [[0.5 * context, {}]])
        guider.set_cfg(cfg)
        return guider.sample(
            noise, torch.zeros_like(noise), sampler, torch.tensor(levels), seed=3, disable_pbar=True
        )

    return run


def ranged(context, start, end):
    from nodes import ConditioningSetTimestepRange

    return ConditioningSetTimestepRange().set_range([[context, {}]], start, end)[0]


# Prompts that do not hold in every pass


@pytest.mark.parametrize(("start", "end"), [(0.3, 1.0), (0.0, 0.6)])
def test_a_prompt_for_a_part_of_the_denoising_is_named(go, sampler, context, start, end):
    expected = rf"a positive prompt holds from {start:g} to {end:g} .*set start to 0 and end to 1 in Conditioning"
    with pytest.raises(DummyForcingError, match=expected):
        go(sampler, prompt=ranged(context, start, end))
    both = [*ranged(context, 0.0, 0.5), *ranged(-context, 0.5, 1.0)]
    with pytest.raises(DummyForcingError, match=r"a negative prompt holds from 0 to 0.5"):
        go(sampler, negative=both, cfg=2.0)


def test_a_prompt_for_a_part_of_the_denoising_without_a_patch(go, our_sampler, context):
    with pytest.raises(DummyForcingError, match=r"a positive prompt holds from 0\.3 to 1"):
        go(our_sampler(), prompt=ranged(context, 0.3, 1.0), patch=lambda model: model)


def test_a_range_that_covers_every_pass_changes_nothing(go, sampler, context):
    assert torch.equal(go(sampler, prompt=ranged(context, 0.0, 1.0)), go(sampler))
    late = (0.6, 0.3, 0.0)  # video to video begins below the range's start
    assert torch.equal(go(sampler, prompt=ranged(context, 0.1, 1.0), levels=late), go(sampler, levels=late))


def test_a_range_that_ends_below_the_context_noise_covers_every_pass(go, context):
    def noisy():
        return ARStreamingSampler(3, "ComfyUI", context_noise=0.5)

    assert torch.equal(go(noisy(), prompt=ranged(context, 0.0, 0.95)), go(noisy()))


def test_no_prompt(go, sampler):
    with pytest.raises(DummyForcingError, match="there is no prompt"):
        go(sampler, prompt=[])


def test_cfg_for_a_part_of_the_steps_leaves_a_hole(go, sampler):
    from comfy_extras.nodes_custom_sampler import CFGOverride

    with pytest.raises(DummyForcingError, match=r"took part in some passes only.*CFG Override"):
        go(sampler, lambda model: CFGOverride.execute(model, 1.0, 0.2, 1.0).args[0], cfg=3.0)
    whole = go(sampler, lambda model: CFGOverride.execute(model, 1.0, 0.0, 1.0).args[0], cfg=3.0)
    torch.testing.assert_close(whole, go(sampler), **EXACT)


def test_a_node_that_answers_in_the_models_place_is_told_from_one_that_replaces_its_forward(go, sampler):
    from comfy.patcher_extension import WrappersMP

    def answered(model):
        clone = model.clone()
        clone.add_wrapper(WrappersMP.PREDICT_NOISE, lambda executor, x, *_: torch.zeros_like(x))
        return clone

    with pytest.raises(DummyForcingError, match="the model was not run at all"):
        go(sampler, answered)


def test_both_sides_of_cfg_under_an_area_have_memories_of_their_own(go, sampler, context):
    """ComfyUI copies the area to the negative side with the identity of the prompt it belongs to."""
    area = [[context, {"area": (4, 6, 2, 3), "strength": 1.0}], [context, {}]]
    same = go(sampler, prompt=area, negative=[[context, {}]], cfg=4.0)
    torch.testing.assert_close(same, go(sampler, prompt=area), atol=1e-4, rtol=0)
    other = go(sampler, prompt=area, negative=[[-context, {}]], cfg=4.0)
    assert other.isfinite().all() and not torch.allclose(other, same, atol=1e-2)


# Nodes without effect


def easy_cache(model):
    from comfy_extras.nodes_easycache import EasyCacheNode

    return EasyCacheNode.execute(model, 0.2, 0.0, 1.0, False).args[0]


def windows(length, freenoise=False):
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    options = length, 0, "standard_static", 1, False, "pyramid", 2, freenoise
    return lambda model: ContextWindowsManualNode.execute(model, *options).args[0]


def skipped_layers(model):
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

    return SkipLayerGuidanceDiT.execute(model, 3.0, 0.0, 1.0, "0, 1", "", 0.0).args[0]


def downscaled(model):
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale

    return PatchModelAddDownscale.execute(model, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic").args[0]


def attention_guidance(model):
    from comfy_extras.nodes_nag import NAGuidance

    return NAGuidance.execute(model, 5.0, 0.5, 1.5).args[0]


def scaled_rope(model):
    from comfy_extras.nodes_rope import ScaleROPE

    return ScaleROPE.execute(model, 2.0, 0.0, 2.0, 0.0, 2.0, 0.0).args[0]


def compiled(model):
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    return TorchCompileModel.execute(model, "eager").args[0]


WITHOUT_EFFECT = {
    "EasyCache": (easy_cache, "EasyCache has no effect.*AR Pass Skip"),
    "context windows": (windows(8), "context windows node has no effect.*AR KV Window"),
    "windows shorter than a chunk": (windows(1), "context windows node has no effect"),
    "windows with FreeNoise": (windows(4, freenoise=True), "context windows node has no effect"),
    "SkipLayerGuidanceDiT": (skipped_layers, "runs the model once more in a pass.*SkipLayerGuidanceDiT"),
    "PatchModelAddDownscale": (downscaled, "input_block_patch.*PatchModelAddDownscale.* has no effect"),
    "NAGuidance": (attention_guidance, "attn1_output_patch .* has no effect"),
    "ScaleROPE": (scaled_rope, r"rope_options \(Scale RoPE\) has no effect"),
    "TorchCompileModel": (compiled, "torch.compile of the whole model.*AR Compile takes its place"),
}


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "dummy_forcing"]


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_what_has_no_effect_is_said_once(go, sampler, caplog, name):
    change, words = WITHOUT_EFFECT[name]
    with caplog.at_level(logging.WARNING):
        expected = go(sampler)
        assert not warnings(caplog)
        torch.testing.assert_close(go(sampler, change), expected, **EXACT)
    (said,) = warnings(caplog)
    assert re.search(words, said), said


def test_what_a_prompt_carries_beside_its_text_is_said(go, sampler, caplog, context):
    extra = {
        "concat_latent_image": torch.zeros(1, 16, 9, 8, 12),
        "reference_latents": [torch.zeros(1, 16, 1, 8, 12)],
    }
    assert torch.equal(go(sampler, prompt=[[context, extra]]), go(sampler))
    (said,) = warnings(caplog)
    assert "concat_latent_image, reference_latent, which AR models do not read" in said


def test_lazy_cache_is_warned_of(go, sampler, caplog):
    from comfy_extras.nodes_easycache import LazyCacheNode

    go(sampler, lambda model: LazyCacheNode.execute(model, 0.2, 0.0, 1.0, False).args[0])
    assert any(
        said.startswith("LazyCache takes the passes of all chunks for those of one") for said in warnings(caplog)
    )


def test_an_ordinary_sampler_says_that_nothing_streams_and_makes_no_room(
    go, golden_model, host, monkeypatch, caplog
):
    import comfy.samplers

    asked, load = [], host.load_models_gpu

    def watched(*args, **options):
        asked.append(options["memory_required"])
        return load(*args, **options)

    monkeypatch.setattr(host, "load_models_gpu", watched)
    euler = comfy.samplers.ksampler("euler")
    torch.testing.assert_close(go(euler), go(euler, patch=lambda model: model), **EXACT)
    assert asked[0] == asked[1]
    (said,) = warnings(caplog)
    assert said.startswith("sample_euler makes all frames of a video at once") and "AR Streaming Sampler" in said


# Reports


@pytest.fixture
def toy(host, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    return open_model(TOY_WORLD, AUTO, "default", NO_LORA, 1.0), *ToyWorld.execute("a red circle moving left").args[
        :2
    ]


def execute(node, *args, **options):
    """Run a node as the host does: on a clone that has hidden inputs."""
    return node.PREPARE_CLASS_CLONE(None).execute(*args, **options).args


def shifted(model):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    return ModelSamplingSD3().patch(model, 8.0)[0]


def test_reports_say_what_has_no_effect(toy):
    model, positive, vae = toy
    beside = shifted(skipped_layers(windows(8)(easy_cache(model))))
    report, plain = (execute(StreamARVideo, each, positive, vae, 0, 0, 21, 1)[2] for each in (beside, model))
    words = ("EasyCache has no effect", "context windows node", "runs the model once more", "has set a shift")
    assert all(report.count(each) == 1 for each in words) and not any(each in plain for each in words)
    (info,) = execute(ARModelInfoNode, beside, 0, 0, 81)
    assert (
        all(each in info for each in words[:2])
        and "has no effect" not in execute(ARModelInfoNode, model, 0, 0, 81)[0]
    )


def test_the_table_is_the_same_for_a_patch_before_and_after(toy):
    before, after = forced(easy_cache(toy[0])), easy_cache(forced(toy[0]))
    assert door.notices(before) == door.notices(after) != []


def _options(**options):
    return lambda prompt: [[prompt, options]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda prompt: [], "prompt_1 is empty; connect prompt_1 of AR Prompt Schedule"),
        (_options(start_percent=0.0, end_percent=0.5), "time range .*; remove ConditioningSetTimestepRange"),
        (_options(start_percent=0.2, end_percent=1.0), "time range .*; remove ConditioningSetTimestepRange"),
        (_options(area=("percentage", 0.5, 0.5, 0, 0), strength=1.0), "has an area .*; remove ConditioningSetArea"),
        (_options(mask=torch.ones(1, 8, 8)), "has a mask .*; remove ConditioningSetMask"),
        (_options(strength=0.5), "has a strength .*; remove ConditioningSetAreaStrength"),
        (_options(hooks=object()), "has hooks .*; remove the node that sets hooks"),
        (_options(control=object()), "has a control net .*; remove Apply ControlNet"),
        (_options(concat_latent_image=torch.ones(1)), "has images .*; remove the node that adds a start image"),
        (lambda prompt: [[prompt, {}]] * 2, "consists of 2 prompts, .*; remove ConditioningCombine"),
    ],
)
def test_a_later_prompt_that_is_more_than_text_is_refused(make, said):
    from dummy_forcing.nodes.video.prompt_schedule import ARPromptSchedule

    text = torch.ones(1, 6, 4)
    plain = [[text, {"pooled_output": None, "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}]]
    assert (
        ARPromptSchedule.execute({"prompt_0": plain, "prompt_1": plain}, "1s, 2s", "flush").args[0].texts[1] is text
    )
    with pytest.raises(DummyForcingError, match=said):
        ARPromptSchedule.execute({"prompt_0": plain, "prompt_1": make(text)}, "1s, 2s", "flush")


def test_later_prompts_of_comfyui_s_own_nodes():
    import nodes
    from dummy_forcing.nodes.video.prompt_schedule import ARPromptSchedule

    plain = [[torch.ones(1, 6, 4), {}]]
    ranged = nodes.ConditioningSetTimestepRange().set_range(plain, 0.0, 0.3)[0]
    both = nodes.ConditioningCombine().combine(plain, plain)[0]
    for prompt, said in ((ranged, "ConditioningSetTimestepRange"), (both, "ConditioningCombine")):
        with pytest.raises(DummyForcingError, match=f"^prompt_0 .*; remove {said} .*in front of prompt_0"):
            ARPromptSchedule.execute({"prompt_0": prompt}, "1s", "flush")
    assert ARPromptSchedule.execute(
        {"prompt_0": nodes.ConditioningSetTimestepRange().set_range(plain, 0.0, 1.0)[0]}, "1s", "flush"
    )
