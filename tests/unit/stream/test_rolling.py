"""Rolling Forcing against a slow loop that keeps no cache (docs/references.md, "Rolling Forcing's joint window").

The slow loop recomputes the keys and values of all finished frames before every pass. Facts of the authors' code:
joint passes read the sink right before the working frames, these as many as make 21 frames with the sink and the
window; clean passes read the newest 21 frames in all, themselves included, wherever they are.
"""

import copy

import pytest
import torch

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.pass_skip import PassSkip
from dummy_forcing.core.methods.positions import Relative
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.denoiser import sigmas_for
from dummy_forcing.core.stream.events import ChunkDone, HeadsClassified, PassDone
from dummy_forcing.core.stream.given_latents import GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.prompts import PromptSchedule, PromptSwitch, ScheduledPrompt
from dummy_forcing.core.stream.rollout import Rollout

FIVE = (1.0, 0.95, 0.88, 0.77, 0.56, 0.0)
ROLLING = MemoryConfig(RollingWindow(3, 21), Relative())


def config(total, **changes):
    values = {"sigmas": FIVE, "chunk_frames": 3, "latent_size": (4, 4), "channels": 4, "memory": ROLLING}
    return StreamConfig(total_frames=total, rolling=True, **{**values, **changes})


@pytest.fixture
def stream(tiny_wan, make_text):
    def start(total, given=None, prompts=None, **changes):
        options = {} if prompts is None else {"prompts": prompts}
        settings = config(total, **changes)
        return stream_video(
            tiny_wan, make_text(1), settings, SeededNoise(0), given=given or GivenLatents(), **options
        )

    return start


@pytest.fixture
def literal(slow, make_text, keep_newest, move_frame):
    """The whole loop over windows, with nothing kept between passes but latents."""

    def video(total, sigmas=FIVE, opening=(), size=21, sink=3, texts=None):
        noise, steps = SeededNoise(0), len(sigmas) - 1
        texts = texts or {0: make_text(1)}
        given = len(opening)
        chunks = given + (total - sum(part.shape[2] for part in opening)) // 3
        done, noisy, text = list(opening), {}, texts[0]
        for window in range(given, chunks + steps - 1):
            if window < chunks:
                text = texts.get(window, text)
                noisy[window] = noise.draw(window, 0, slow.shape(3))
            active = sorted(noisy)
            levels = [sigmas[window - chunk] for chunk in active for _ in range(3)]
            past = slow.clean(done, text if len(texts) == 1 else texts[0], window=size - 3)
            room = max(0, size - len(levels) - sink)
            working = past[max(sink, len(past) - room) :]
            gap = len(past) - len(past[:sink]) - len(working)
            context = [*(move_frame(frame, gap) for frame in past[:sink]), *working]
            x = torch.cat([noisy[chunk] for chunk in active], dim=2)
            x0, _ = slow.run(x, levels, len(past), text, context)
            for chunk, part in zip(active, x0.split(3, dim=2), strict=True):
                step = window - chunk + 1
                if step == steps:
                    done.append(part)
                    del noisy[chunk]
                else:
                    fresh = noise.draw(chunk, step, slow.shape(3))
                    noisy[chunk] = (1 - sigmas[step]) * part + sigmas[step] * fresh
        return torch.cat(done, dim=2)

    return video


@pytest.mark.parametrize("total", [3, 9, 15, 30, 48])
def test_the_loop_is_the_literal_one(stream, literal, latents_of, total):
    """Shorter than the window, as long, and longer than everything that is kept."""
    torch.testing.assert_close(latents_of(stream(total)), literal(total), atol=2e-5, rtol=0)


def test_four_steps_as_causal_forcings_long_videos_have(stream, literal, latents_of):
    four = (1.0, 0.94, 0.83, 0.62, 0.0)
    found = latents_of(stream(42, sigmas=four))
    torch.testing.assert_close(found, literal(42, four), atol=2e-5, rtol=0)


def test_frames_out_of_the_working_cache_matter_and_the_sink_is_moved(stream, literal, latents_of):
    """Otherwise the equalities above would not tell a wrong window from the right one."""
    found = latents_of(stream(48))
    for other in (
        latents_of(stream(48, memory=MemoryConfig(RollingWindow(3, 21)))),
        latents_of(stream(48, memory=MemoryConfig(RollingWindow(3, 24), Relative()))),
        latents_of(stream(48, memory=MemoryConfig(Window(3, 21), Relative()))),
    ):
        assert (found - other).abs().max() > 1e-4


@pytest.mark.parametrize("frames", [3, 9, 1, 4])
def test_an_opening_gets_clean_passes_and_the_rest_rolls(stream, literal, latents_of, frames):
    opening = torch.randn(1, 4, frames, 4, 4, generator=torch.Generator().manual_seed(5))
    ragged = [] if frames % 3 == 0 else [frames % 3]
    parts = opening.split([*ragged, *[3] * (frames // 3)], dim=2)
    total = frames + 27
    found = latents_of(stream(total, GivenLatents(opening), opening_frames=frames))
    assert torch.equal(found[:, :, :frames], opening)
    torch.testing.assert_close(found, literal(total, opening=parts), atol=2e-5, rtol=0)


def test_joint_passes_have_a_level_for_each_frame(stream):
    passes = [e.clock for e in stream(12, sigmas=(1.0, 0.6, 0.3, 0.0)) if isinstance(e, PassDone)]
    joint = [clock for clock in passes if not clock.clean]
    levels = [[*clock.frame_sigmas[::3]] for clock in joint]
    assert levels == [[1.0], [0.6, 1.0], [0.3, 0.6, 1.0], [0.3, 0.6, 1.0], [0.3, 0.6], [0.3]]
    assert [clock.chunk for clock in joint] == [0, 0, 0, 1, 2, 3]
    assert [clock.start_frame for clock in joint] == [0, 0, 0, 3, 6, 9]
    assert [clock.sigma for clock in joint] == [1.0, 1.0, 1.0, 1.0, 0.6, 0.3]


@pytest.mark.parametrize(("total", "opening"), [(3, 0), (6, 0), (30, 0), (31, 1), (15, 6)])
def test_passes_are_counted_beforehand(stream, total, opening):
    given = GivenLatents(torch.zeros(1, 4, opening, 4, 4) if opening else None)
    events = list(stream(total, given, opening_frames=opening))
    settings = config(total, opening_frames=opening)
    assert sum(isinstance(event, PassDone) for event in events) == settings.total_passes
    chunks = [event.clock.chunk for event in events if isinstance(event, ChunkDone)]
    assert chunks == list(range(settings.total_chunks))


def test_chunks_come_one_by_one_without_end(stream):
    events = stream(None)
    done = [event for event in (next(events) for _ in range(40)) if isinstance(event, ChunkDone)]
    events.close()
    assert [event.clock.chunk for event in done] == list(range(len(done)))
    assert len(done) > 8


def test_bytes_are_flat_from_the_first_chunk(stream):
    held = {event.kv_bytes for event in stream(90) if isinstance(event, ChunkDone)}
    frame = 2 * 4 * 48 * 4  # keys of a frame: layers, tokens, width, fp32
    assert held == {(21 + 15) * 2 * frame + 3 * frame}  # history, a joint pass, the sink's keys as they were


def test_context_noise_is_put_on_what_is_kept_but_not_on_the_result(stream, latents_of):
    plain, noisy = (list(stream(9, context_noise=level)) for level in (0.0, 0.3))
    assert torch.equal(latents_of(plain)[:, :, :3], latents_of(noisy)[:, :, :3])
    assert not torch.allclose(latents_of(plain)[:, :, 3:], latents_of(noisy)[:, :, 3:])


@pytest.mark.parametrize("local", [1, 2])
def test_dummy_forcing_measures_heads_and_goes_on(stream, latents_of, local):
    events = list(stream(45, memory=MemoryConfig(DummyForcing(local_context=local))))
    (where,) = (index for index, event in enumerate(events) if isinstance(event, HeadsClassified))
    assert events[where + 1].clock.chunk == 1
    assert events[where].roles.shape == (2, 4)
    assert latents_of(events).isfinite().all()
    held = [event.kv_bytes for event in events if isinstance(event, ChunkDone)]
    assert len(set(held[1:])) == 1
    short = list(stream(9, memory=MemoryConfig(DummyForcing(local_context=local))))
    assert torch.equal(latents_of(short)[:, :, :3], latents_of(list(stream(9, memory=MemoryConfig())))[:, :, :3])


def test_levels_of_frames_stay_exact_in_low_precision(tiny_wan, make_text, latents_of, stream):
    """0.88 would become 0.8789 in bfloat16."""
    model = copy.deepcopy(tiny_wan).bfloat16()
    found = latents_of(stream_video(model, make_text(1).bfloat16(), config(15), SeededNoise(0)))
    assert found.dtype == torch.bfloat16
    clock = ChunkClock(0, 0, 2, 4, 0, 0.88, False, frame_sigmas=(0.77, 0.88))
    assert torch.equal(sigmas_for(clock, found).flatten(), torch.tensor([0.77, 0.88]))
    torch.testing.assert_close(found.float(), latents_of(stream(15)), atol=0.15, rtol=0)


def test_another_prompt_holds_for_all_chunks_under_way(stream, latents_of, make_text, slow):
    """Two chunks at two levels: from the window on in which the new prompt's chunk comes in."""
    switch = PromptSwitch("cross-attention")
    prompts = PromptSchedule(make_text(1), [ScheduledPrompt(6, make_text(2))], switch)
    sigmas = (1.0, 0.5, 0.0)
    found, plain = latents_of(stream(9, prompts=prompts, sigmas=sigmas)), latents_of(stream(9, sigmas=sigmas))
    assert torch.equal(found[:, :, :3], plain[:, :, :3])
    noise, old, new = SeededNoise(0), make_text(1), make_text(2)
    first, _ = slow.run(noise.draw(0, 0, slow.shape(3)), 1.0, 0, old)
    half = 0.5 * first + 0.5 * noise.draw(0, 1, slow.shape(3))
    both, _ = slow.run(torch.cat([half, noise.draw(1, 0, slow.shape(3))], 2), [0.5] * 3 + [1.0] * 3, 0, old)
    past = slow.clean([both[:, :, :3]], old)
    half = 0.5 * both[:, :, 3:] + 0.5 * noise.draw(1, 1, slow.shape(3))
    x = torch.cat([half, noise.draw(2, 0, slow.shape(3))], 2)
    second, _ = slow.run(x, [0.5] * 3 + [1.0] * 3, 3, new, past)
    torch.testing.assert_close(found[:, :, 3:6], second[:, :, :3], atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["recache", "flush"])
def test_switches_that_touch_the_memory_are_refused(stream, make_text, method):
    prompts = PromptSchedule(make_text(1), [], PromptSwitch(method))
    with pytest.raises(
        DummyForcingError, match=f"'{method}' needs chunks that are done one by one.*cross-attention"
    ):
        next(stream(9, prompts=prompts))


@pytest.mark.parametrize(
    "changes",
    [
        {"skip": PassSkip(passes=(2,))},
        {"refine": True, "context_noise": 0.1},
        {"rollout": Rollout(6, 3)},
        {"first_sigmas": (1.0, 0.0)},
    ],
)
def test_options_of_the_common_loop_are_refused(changes):
    with pytest.raises(DummyForcingError, match="joint passes cannot be skipped, refined or split"):
        config(9, **changes)


def test_a_source_video_is_refused(stream):
    with pytest.raises(DummyForcingError, match="begin as pure noise"):
        next(stream(9, GivenLatents(source=torch.zeros(1, 4, 9, 4, 4))))
