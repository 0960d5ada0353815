"""Loops, openings, sources and later prompts in the real ComfyUI: the same numbers as the core on its own."""

from dataclasses import replace
from pathlib import Path

import comfy.samplers
import pytest
import torch
from backbones import load_backbone

from dummy_forcing.core.checkpoints.families.running import FamilyLoop, family_loop, family_memory
from dummy_forcing.core.checkpoints.families.table import family
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone
from dummy_forcing.core.stream.given_latents import GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompt_times import PromptPlan, parse_time
from dummy_forcing.core.stream.prompts import NO_CHANGES
from dummy_forcing.core.stream.rollout import Rollout
from dummy_forcing.nodes import host as door
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.patches.model_patch import ModelPatch
from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler
from dummy_forcing.nodes.video.model_facts import facts_of
from dummy_forcing.nodes.video.prompt_schedule import ARPromptSchedule

DATA = Path(__file__).resolve().parents[1] / "data"
SIGMAS = (1.0, 0.9375, 0.8333, 0.625, 0.0)
SIZE = (8, 12)
CLOSE = {"atol": 2e-4, "rtol": 0}  # different kernels, and half of the values are above 1
LOOPS = {
    "common": ModelPatch(),
    "rolling": ModelPatch(family_memory(family("rolling-forcing")), loop=family_loop(family("rolling-forcing"))),
    "krea": ModelPatch(loop=family_loop(family("krea-realtime-14b"))),
    "causvid": ModelPatch(loop=family_loop(family("causvid"))),
    "reward forcing": ModelPatch(family_memory(family("reward-forcing"))),
    "first chunk": ModelPatch(loop=FamilyLoop(first_sigmas=(1.0, 0.9, 0.8, 0.7, 0.6, 0.0))),
    "dummy forcing": ModelPatch(MemoryConfig(DummyForcing(), Relative(6))),
    "dummy forcing in rollouts": ModelPatch(MemoryConfig(DummyForcing()), loop=FamilyLoop(rollout=Rollout(12, 3))),
}


@pytest.fixture
def backbone():
    return load_backbone(DATA / "weights.safetensors")


@pytest.fixture
def context(golden):
    return golden("dense")["context"]


@pytest.fixture
def run_core(backbone, context):
    """The video as the core makes it, without ComfyUI."""

    def run(patch, frames=24, prompts=NO_CHANGES, given=None, sigmas=SIGMAS, chunk=3, **options):
        given = given or GivenLatents()
        opening = 0 if given.opening is None else given.opening.shape[2]
        config = StreamConfig(
            sigmas,
            chunk,
            frames,
            SIZE,
            memory=patch.memory,
            opening_frames=opening,
            **patch.loop.options(sigmas),
            **options,
        )
        events = stream_video(backbone, context, config, SeededNoise(3), given=given, prompts=prompts)
        return torch.cat([event.latents for event in events if isinstance(event, ChunkDone)], dim=2)

    return run


@pytest.fixture
def run_host(golden_model, context):
    """The same through a guider and our sampler; latents as the model sees them."""

    def run(patch, frames=24, opening=None, source=None, sigmas=SIGMAS, cfg=1.0, chunk=3, sampler=None, **options):
        model = door.with_patch(golden_model, patch)
        inner = model.model
        if opening is not None:
            door.set_start_latents(
                model.model_options.setdefault("transformer_options", {}), inner.process_latent_out(opening)
            )
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds([[context, {}]], [[0.5 * context, {}]])
        guider.set_cfg(cfg)
        latent = torch.zeros(1, 16, frames, *SIZE)
        source = None if source is None else inner.process_latent_out(source)
        sampler = sampler or ARStreamingSampler(chunk, source=source, **options)
        made = guider.sample(latent, latent, sampler, torch.tensor(sigmas), seed=3, disable_pbar=True)
        return inner.process_latent_in(made)

    return run


@pytest.mark.parametrize("name", LOOPS)
def test_every_loop_makes_what_the_core_makes(run_core, run_host, name):
    torch.testing.assert_close(run_host(LOOPS[name]), run_core(LOOPS[name]), **CLOSE)


@pytest.mark.parametrize("name", [name for name in LOOPS if name != "rolling"])
def test_every_loop_but_rolling_ends_with_a_shorter_chunk(run_core, run_host, name):
    found = run_host(LOOPS[name], frames=20)
    assert found.shape[2] == 20
    torch.testing.assert_close(found, run_core(LOOPS[name], frames=20, ragged=True), **CLOSE)


def test_rolling_forcing_says_in_video_frames_what_fits(run_host):
    with pytest.raises(DummyForcingError, match=r"use 18 or 21 latent frames, which are 69 or 81 video frames"):
        run_host(LOOPS["rolling"], frames=20)


def test_loops_differ_from_one_another(run_core):
    made = {name: run_core(patch) for name, patch in LOOPS.items()}
    for name, latents in made.items():
        for other in [other for other in made if other != name]:
            assert (latents - made[other]).abs().max() > 0.01, (name, other)


@pytest.mark.parametrize("name", ["common", "rolling", "causvid", "dummy forcing"])
def test_a_video_goes_on_from_given_frames(run_core, run_host, name):
    opening = torch.randn(1, 16, 7, *SIZE, generator=torch.Generator().manual_seed(1))
    expected = run_core(LOOPS[name], frames=22, given=GivenLatents(opening))
    found = run_host(LOOPS[name], frames=22, opening=opening)
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(found[:, :, :7], opening, **CLOSE)


def test_a_source_longer_than_the_guiders_latent_is_changed(run_core, run_host):
    source = torch.randn(1, 16, 12, *SIZE, generator=torch.Generator().manual_seed(1))
    levels = (0.7, 0.4, 0.0)
    expected = run_core(ModelPatch(), frames=12, given=GivenLatents(source=source), sigmas=levels)
    found = run_host(ModelPatch(), frames=12, source=source, sigmas=levels)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_refining_and_context_noise(run_core, run_host):
    options = {"context_noise": 0.1, "refine": True}
    expected = run_core(ModelPatch(), frames=9, sigmas=(1.0, 0.8, 0.0), **options)
    torch.testing.assert_close(
        run_host(ModelPatch(), frames=9, sigmas=(1.0, 0.8, 0.0), **options), expected, **CLOSE
    )


@pytest.mark.parametrize("method", ["cross-attention", "recache", "flush", "interpolate"])
@pytest.mark.parametrize("keep", [MemoryConfig(), MemoryConfig(Window(1, 7)), MemoryConfig(DummyForcing())])
def test_prompts_change_as_in_the_core(run_core, run_host, context, method, keep):
    plan = PromptPlan((parse_time("chunk 4"),), (-context,), method, recache_frames=6, chunks=2)
    config = StreamConfig(SIGMAS, 3, 24, SIZE)
    patch = ModelPatch(keep)
    expected = run_core(patch, prompts=plan.schedule(context, config, None))
    found = run_host(patch, prompts=plan)
    torch.testing.assert_close(found, expected, **CLOSE)
    unchanged = run_host(patch)
    assert torch.equal(found[:, :, :12], unchanged[:, :, :12])
    assert (found[:, :, 12:15] - unchanged[:, :, 12:15]).abs().max() > 0.01


def test_the_prompt_of_a_running_stream_is_changed_from_outside(run_host, context):
    def change_after_the_fourth(event):
        if isinstance(event, ChunkDone) and event.clock.chunk == 3:
            assert sampler.change_prompt(-context)

    plan = PromptPlan((parse_time("chunk 4"),), (-context,), None)
    expected = run_host(ModelPatch(), prompts=plan)
    sampler = ARStreamingSampler(3, consumer=change_after_the_fourth)
    assert torch.equal(run_host(ModelPatch(), sampler=sampler), expected)
    assert not sampler.change_prompt(context)  # nothing is under way any more


def test_a_later_prompt_leaves_the_negative_one_alone(run_host, context):
    plan = PromptPlan((parse_time("chunk 1"),), (context,), "cross-attention")
    same = run_host(ModelPatch(), frames=9, cfg=3.0, prompts=plan)
    torch.testing.assert_close(same, run_host(ModelPatch(), frames=9, cfg=3.0), **CLOSE)


def test_a_schedule_of_the_node(context):
    prompts = {"prompt_0": [[context, {}]], "prompt_1": [[-context, {}]]}
    plan = ARPromptSchedule.execute(prompts, "1s, chunk 6", "flush", flush_frames=3).args[0]
    config = StreamConfig(SIGMAS, 3, 24, SIZE)
    schedule = plan.schedule(context, config, family("infinity-rope").prompt_switch)
    starts = [clock.chunk for clock in config.chunks() if schedule.before(clock) is not None]
    assert starts == [1, 6]  # a second is 16 frames: latent frame 4, in chunk 1
    assert schedule.switch.method == "flush" and schedule.switch.flush_frames == 3
    own = replace(plan, method=None)
    assert own.schedule(context, config, family("longlive").prompt_switch).switch.method == "recache"
    with pytest.raises(DummyForcingError, match="2 later prompts and 1 times"):
        ARPromptSchedule.execute(prompts, "1s", "flush")
    with pytest.raises(DummyForcingError, match="'soon' is no time; write seconds as 5s or a chunk as chunk 8"):
        ARPromptSchedule.execute(prompts, "1s, soon", "flush")


def test_a_model_that_starts_over_with_every_chunk_needs_a_profile(golden_model):
    from dummy_forcing.nodes.video.model_facts import attach_facts

    facts = replace(facts_of(golden_model), family=family("krea-realtime-14b"))
    attach_facts(golden_model, facts)
    with pytest.raises(DummyForcingError, match="connect a profile"):
        DummyForcingPatch.execute(golden_model, 0.5, 1)
