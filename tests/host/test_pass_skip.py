"""AR Pass Skip on the real CausalWanModel: exact counts under both samplers, a residual for each conditioning."""

import logging

import comfy.sample
import comfy.samplers
import pytest
import torch
from backbones import load_backbone

from dummy_forcing.core.checkpoints.families.running import FamilyLoop
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.pass_skip import PassSkip
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.denoiser import BackboneDenoiser
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.loop import stream_chunks
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.heads.profile_heads import ProfileDummyHeads
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.kv_window import ARKVWindow
from dummy_forcing.nodes.patches.model_patch import ModelPatch
from dummy_forcing.nodes.patches.pass_skip_patch import BY_CHANGE, BY_LIST, ARPassSkip
from dummy_forcing.nodes.video.ar_sampler import HostNoise
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld

from .conftest import DATA

EXACT = {"atol": 1e-5, "rtol": 0}
SAMPLERS = ("core_sampler", "our_sampler")


def skipping(model, passes="1"):
    return ARPassSkip.execute(model, {"skip": BY_LIST, "passes": passes}).args[0]


def by_change(model, threshold=0.2):
    return ARPassSkip.execute(model, {"skip": BY_CHANGE, "threshold": threshold}).args[0]


def forced(model):
    return DummyForcingPatch.execute(model, 0.5, 1).args[0]


def test_the_schema():
    schema = ARPassSkip.GET_SCHEMA()
    schema.validate()
    assert schema.node_id == "DummyForcingPassSkip"
    inputs = [each for part in schema.inputs for each in part.get_all()]
    assert {each.id for each in inputs} == {"model", "skip", "passes", "threshold"}
    assert all(part.tooltip for part in (*inputs, *schema.outputs))


@pytest.mark.parametrize("maker", SAMPLERS)
@pytest.mark.parametrize(("passes", "count"), [("", 0), ("1", 1), ("1, 3", 2), ("1,2,3", 3)])
@pytest.mark.parametrize(("cfg", "sides"), [(1.0, 1), (3.0, 2)])
def test_exactly_the_listed_passes_are_skipped(
    golden_model, maker, passes, count, cfg, sides, sample, request, caplog
):
    """Counted at the first layer of the host's own module, for each side of the guidance."""
    model, calls = skipping(golden_model, passes), []
    layer = model.get_model_object("diffusion_model").blocks[0].self_attn.q
    hook = layer.register_forward_hook(lambda *_: calls.append(1))
    with caplog.at_level(logging.INFO, "dummy_forcing"):
        sample(model, request.getfixturevalue(maker)(), frames=9, cfg=cfg)
    hook.remove()
    assert len(calls) == 3 * sides * (5 - count)
    assert f"{3 * sides * count} of {15 * sides} passes skipped" in caplog.text


@pytest.mark.parametrize("patch", [lambda model: skipping(model, "1,3"), lambda model: by_change(model, 0.3)])
def test_core_and_our_sampler_agree(golden_model, patch, sample, core_sampler, our_sampler):
    for model in (patch(golden_model), forced(patch(golden_model))):
        for options in ({}, {"cfg": 3.0}, {"batch": 2}):
            ours = sample(model, our_sampler(), **options)
            torch.testing.assert_close(ours, sample(model, core_sampler(), **options), **EXACT)


@pytest.mark.parametrize("maker", SAMPLERS)
def test_an_empty_list_changes_nothing(golden_model, maker, sample, request):
    model = forced(golden_model)
    expected = sample(model, request.getfixturevalue(maker)())
    assert torch.equal(sample(skipping(model, ""), request.getfixturevalue(maker)()), expected)
    assert not torch.allclose(sample(skipping(model), request.getfixturevalue(maker)()), expected, atol=1e-3)


class Guided:
    """Classifier-free guidance by hand: a denoiser for each prompt, each with a residual of its own."""

    def __init__(self, positive, negative, scale):
        self.sides, self.scale = (positive, negative), scale
        self.batch, self.device, self.dtype = positive.batch, positive.device, positive.dtype

    @property
    def status(self):
        return self.sides[0].status

    @property
    def skipped(self):
        return self.sides[0].skipped

    def denoise(self, x, clock):
        return self._mix(*(side.denoise(x, clock) for side in self.sides))

    def keep(self, x, clock):
        return self._mix(*(side.keep(x, clock) for side in self.sides))

    def _mix(self, positive, negative):
        return negative + self.scale * (positive - negative)

    def close(self):
        for side in self.sides:
            side.close()


@pytest.mark.parametrize("maker", SAMPLERS)
@pytest.mark.parametrize("keep", [None, DummyForcing()])
def test_each_conditioning_has_a_residual_of_its_own(golden, golden_model, maker, keep, sample, request):
    """Against two standalone backbones that share nothing."""
    memory = MemoryConfig() if keep is None else MemoryConfig(keep)
    skip, context = PassSkip((1, 3)), golden("dense")["context"]
    levels = comfy.samplers.calculate_sigmas(golden_model.get_model_object("model_sampling"), "simple", 4)
    config = StreamConfig(tuple(levels.tolist()), 3, 12, (8, 12), memory=memory, skip=skip)
    backbone = load_backbone(DATA / "weights.safetensors")
    video = config.shape_for(backbone, context)
    sides = (BackboneDenoiser(backbone, text, memory, video, skip=skip) for text in (context, 0.5 * context))
    noise = HostNoise(comfy.sample.prepare_noise(torch.zeros(1, 16, 12, 8, 12), 3), 3, config)
    events = stream_chunks(Guided(*sides, scale=3.0), config, noise)
    expected = torch.cat([event.latents for event in events if isinstance(event, ChunkDone)], dim=2)
    model = door.with_patch(golden_model, ModelPatch(memory, skip))
    found = sample(model, request.getfixturevalue(maker)(), frames=12, cfg=3.0)
    found = golden_model.model.process_latent_in(found)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_patches_may_come_in_any_order(golden_model, sample, core_sampler):
    one, other = skipping(forced(golden_model)), forced(skipping(golden_model))
    expected = ModelPatch(door.memory_config(forced(golden_model)), PassSkip())
    assert door.model_patch(one) == door.model_patch(other) == expected
    assert torch.equal(sample(one, core_sampler(), frames=9), sample(other, core_sampler(), frames=9))


def test_a_patch_leaves_the_other_slot_alone(golden_model):
    model = skipping(forced(golden_model))
    assert door.model_patch(ARKVWindow.execute(model, 6, 1).args[0]).skip == PassSkip()
    assert door.memory_config(by_change(model)) == door.memory_config(forced(golden_model))
    assert door.model_patch(by_change(model)).skip == PassSkip(threshold=0.2)
    assert door.model_patch(door.with_skip(model, None)).skip is None


def test_clones_are_isolated(golden_model, sample, core_sampler):
    before = sample(golden_model, core_sampler(), frames=9)
    base = forced(golden_model)
    kept = sample(base, core_sampler(), frames=9)
    patched = skipping(base)
    skipped = sample(patched, core_sampler(), frames=9)
    skipping(patched.clone(), "1,2,3")
    assert torch.equal(sample(patched, core_sampler(), frames=9), skipped)
    assert torch.equal(sample(base, core_sampler(), frames=9), kept)
    assert torch.equal(sample(golden_model, core_sampler(), frames=9), before)


@pytest.mark.parametrize("chunk", [1, 3])
def test_a_start_image_is_not_counted_as_a_pass(golden_model, chunk, sample, core_sampler, our_sampler):
    model = skipping(golden_model, "1,2")
    opening = sample(golden_model, core_sampler(), frames=3)[:, :, :1]
    model.model_options.setdefault("transformer_options", {})["ar_config"] = {"initial_latent": opening}
    found = [sample(model, make(chunk), frames=7) for make in (core_sampler, our_sampler)]
    torch.testing.assert_close(*found, **EXACT)


@pytest.mark.parametrize("maker", SAMPLERS)
@pytest.mark.parametrize("end", ["success", "error", "interrupt"])
def test_residuals_are_freed(golden_model, host, maker, end, residuals, no_gc, sample, request):
    def callback(*_):
        if end == "error":
            raise RuntimeError("out of memory")
        if end == "interrupt":
            raise host.InterruptProcessingException

    try:
        sample(skipping(golden_model), request.getfixturevalue(maker)(), frames=6, cfg=3.0, callback=callback)
    except (RuntimeError, host.InterruptProcessingException):
        assert end != "success"
    assert residuals and all(each() is None for each in residuals)


@pytest.mark.parametrize("maker", SAMPLERS)
@pytest.mark.parametrize(("passes", "said"), [("4", "it is the clean pass"), ("9", "list passes from 1 to 3")])
def test_a_list_that_does_not_fit_the_steps_is_refused(golden_model, maker, passes, said, sample, request):
    with pytest.raises(DummyForcingError, match=said):
        sample(skipping(golden_model, passes), request.getfixturevalue(maker)(), frames=3)


def test_joint_passes_cannot_be_skipped(golden_model, sample, our_sampler):
    model = door.with_patch(golden_model, ModelPatch(skip=PassSkip(), loop=FamilyLoop(rolling=True)))
    with pytest.raises(DummyForcingError, match="joint passes cannot be skipped"):
        sample(model, our_sampler(), frames=6)


def test_bad_lists_are_refused_by_the_node(golden_model):
    for passes, said in (("0", "list passes from 1 on"), ("a", "whole numbers with commas in between")):
        with pytest.raises(DummyForcingError, match=said):
            skipping(golden_model, passes)


def test_other_samplers_run_as_ever(golden_model, sample):
    euler = comfy.samplers.ksampler("euler")
    assert torch.equal(sample(skipping(golden_model, "9"), euler), sample(forced(golden_model), euler))


@pytest.fixture
def toy(host, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    return model, *ToyWorld.execute("a red circle moving right").args[:2]


def execute(node, *args, **options):
    """Run a node as the host does: on a clone that has hidden inputs."""
    return node.PREPARE_CLASS_CLONE(None).execute(*args, **options).args


def test_stream_ar_video_reports_skipped_passes(toy):
    model, positive, vae = toy
    _, latent, report, *_ = execute(StreamARVideo, skipping(forced(model)), positive, vae, 0, 0, 33, 1)
    assert "3 of 15 passes skipped" in report and "heads" in report
    assert not torch.equal(
        latent["samples"], execute(StreamARVideo, forced(model), *toy[1:], 0, 0, 33, 1)[1]["samples"]
    )


def test_heads_are_profiled_without_skipping(toy):
    """A pass that does not run has no attention to measure."""
    model, positive, _ = toy
    found, expected = (
        execute(ProfileDummyHeads, each, {"positive_0": positive}, 0, 0, 2, 1, 0.5)[0]
        for each in (skipping(model, "1,2,3"), model)
    )
    assert torch.equal(found.masses, expected.masses)
