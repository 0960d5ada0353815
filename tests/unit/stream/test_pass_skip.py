"""Pass skipping: which passes run, what a skipped one gives, TeaCache's rule, and that nothing stays behind."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from list_memory import ListMemory

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.pass_skip import PassSkip, parse_passes
from dummy_forcing.core.methods.pass_skip import run as pass_skip_run
from dummy_forcing.core.methods.pass_skip.run import PassSkipRun
from dummy_forcing.core.methods.window import Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.events import ChunkDone, PassDone
from dummy_forcing.core.stream.given_latents import GivenLatents
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise
from dummy_forcing.core.stream.sigmas import even_steps, warp_steps
from dummy_forcing.core.stream.tally import Tally, describe_run
from dummy_forcing.core.wan.forward import encode_prompt, forward_chunk

SIGMAS = warp_steps(even_steps(4), 5.0)
LISTS = [(), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]
TEXT = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(1))


def config(skip=None, **changes):
    values = {"sigmas": SIGMAS, "chunk_frames": 3, "total_frames": 9, "latent_size": (4, 6), "channels": 4}
    return StreamConfig(**{**values, "skip": skip, **changes})


def stream(model, skip=None, *, given=None, text=TEXT, **changes):
    return stream_video(
        model, text, config(skip, **changes), SeededNoise(0), given=given or GivenLatents(), observers=()
    )


def video(model, skip=None, **changes):
    return torch.cat([e.latents for e in stream(model, skip, **changes) if isinstance(e, ChunkDone)], dim=2)


def skipped_passes(events):
    """(chunk, pass) of every skipped pass."""
    return [(e.clock.chunk, e.clock.pass_index) for e in events if isinstance(e, PassDone) and e.skipped]


def block_calls(model, run):
    """How often the first block runs in `run()`, and what that returns."""
    calls = []
    hook = model.blocks[0].self_attn.q.register_forward_hook(lambda *_: calls.append(1))
    try:
        result = run()
    finally:
        hook.remove()
    return len(calls), result


@pytest.mark.parametrize("keep", [None, Window(3, 6), DummyForcing()])
@pytest.mark.parametrize("passes", LISTS)
def test_exactly_the_listed_passes_are_skipped(tiny_wan, passes, keep):
    memory = MemoryConfig() if keep is None else MemoryConfig(keep)
    run = config(PassSkip(passes), total_frames=12, memory=memory)
    calls, events = block_calls(
        tiny_wan, lambda: list(stream(tiny_wan, PassSkip(passes), total_frames=12, memory=memory))
    )
    assert calls == 4 * (5 - len(passes))
    assert skipped_passes(events) == [(chunk, index) for chunk in range(4) for index in passes]
    tally = Tally(run)
    for event in events:
        tally.add(event)
    report = tally.report(seconds=1.0)
    assert (report.passes, report.passes_skipped) == (20, 4 * len(passes))
    assert report.to_dict()["passes_skipped"] == 4 * len(passes)
    assert (f"{4 * len(passes)} of 20 passes skipped" in describe_run(report)) == bool(passes)


@pytest.mark.parametrize("keep", [None, DummyForcing()])
def test_an_empty_list_changes_nothing(tiny_wan, keep):
    memory = MemoryConfig() if keep is None else MemoryConfig(keep)
    assert torch.equal(video(tiny_wan, PassSkip(()), memory=memory), video(tiny_wan, memory=memory))


@torch.no_grad()
def literal_video(model, passes, chunks):
    """The loop with skipped passes by hand: what goes into and comes out of the blocks is caught by hooks."""
    seen, noise, prompt = {}, SeededNoise(0), encode_prompt(model, TEXT)
    hooks = [
        model.patch_embedding.register_forward_hook(lambda m, a, out: seen.update(embedded=out)),
        model.head.norm.register_forward_pre_hook(lambda m, args: seen.update(tokens=args[0])),
        model.time_embedding.register_forward_hook(lambda m, a, out: seen.update(time=out.reshape(1, -1))),
    ]
    memory, finished = ListMemory(), []
    for chunk in range(chunks):
        clock = ChunkClock(chunk, 3 * chunk, 3, 6, 0, 0.0, False)
        x = noise.draw(chunk, 0, (1, 4, 3, 4, 6))
        for index, sigma in enumerate(SIGMAS[:-1]):
            reused = seen.get("residual") if index in passes else None
            flow = forward_chunk(model, x, torch.tensor([1000 * sigma]), prompt, memory, clock)
            tokens_in = seen["embedded"].flatten(2).transpose(1, 2)
            if reused is None:
                seen["residual"] = seen["tokens"] - tokens_in
            else:
                flow = head(model, tokens_in + reused, seen["time"])
            x = x - sigma * flow
            if SIGMAS[index + 1]:
                fresh = noise.draw(chunk, index + 1, x.shape)
                x = (1 - SIGMAS[index + 1]) * x + SIGMAS[index + 1] * fresh
        forward_chunk(model, x, torch.zeros(1), prompt, memory, clock)
        memory.commit()
        finished.append(x)
    for hook in hooks:
        hook.remove()
    return torch.cat(finished, dim=2)


def head(model, tokens, time):
    """Wan's head, token by token and patch by patch."""
    shift, scale = model.head.modulation[0, 0] + time[0], model.head.modulation[0, 1] + time[0]
    out = torch.empty(1, 4, 3, 4, 6)
    for place, token in enumerate(tokens[0]):
        normed = (token - token.mean()) / (token.var(unbiased=False) + 1e-6).sqrt()
        patch = model.head.head(normed * (1 + scale) + shift).view(2, 2, 4)
        frame, row, column = place // 6, place % 6 // 3, place % 3
        out[0, :, frame, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = patch.permute(2, 0, 1)
    return out


@pytest.mark.parametrize("passes", LISTS)
def test_a_skipped_pass_adds_the_residual_of_the_last_computed_one(tiny_wan, passes):
    found = video(tiny_wan, PassSkip(passes))
    torch.testing.assert_close(found, literal_video(tiny_wan, passes, 3), atol=1e-5, rtol=1e-5)
    assert bool(passes) != torch.equal(found, video(tiny_wan))


def test_a_batch_is_its_items(tiny_wan):
    text = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(2))
    clock = ChunkClock(0, 0, 3, 6, 0, 1.0, False)
    x = torch.randn(2, 4, 3, 4, 6, generator=torch.Generator().manual_seed(3))

    def second_pass(items):
        run, prompt = PassSkipRun(PassSkip((1,))), encode_prompt(tiny_wan, text[items])
        t, later = torch.tensor([1000.0]).expand(len(text[items])), ChunkClock(0, 0, 3, 6, 1, 0.9, False)
        forward_chunk(tiny_wan, x[items], t, prompt, ListMemory(), clock, reuse=run)
        flow = forward_chunk(tiny_wan, 0.9 * x[items], 0.9 * t, prompt, ListMemory(), later, reuse=run)
        assert run.skipped
        return flow

    both = second_pass(slice(0, 2))
    for item in range(2):
        torch.testing.assert_close(both[item : item + 1], second_pass(slice(item, item + 1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("keep", [None, Window(3, 6), DummyForcing()])
def test_the_cache_holds_as_much_as_without(tiny_wan, keep):
    memory = MemoryConfig() if keep is None else MemoryConfig(keep)
    found, expected = (
        [(e.kv_bytes, e.history_frames) for e in stream(tiny_wan, skip, memory=memory) if isinstance(e, ChunkDone)]
        for skip in (PassSkip((1, 2, 3)), None)
    )
    assert found == expected


def test_chunks_of_a_start_image_have_no_pass_to_skip(tiny_wan):
    opening = torch.randn(1, 4, 4, 4, 6, generator=torch.Generator().manual_seed(4))
    given = GivenLatents(opening)
    events = list(stream(tiny_wan, PassSkip((1, 3)), given=given, opening_frames=4, total_frames=10))
    assert skipped_passes(events) == [(2, 1), (2, 3), (3, 1), (3, 3)]


def test_video_to_video_counts_from_its_own_first_pass(tiny_wan):
    source = torch.randn(1, 4, 9, 4, 6, generator=torch.Generator().manual_seed(4))
    for skip in (PassSkip((1,)), PassSkip(threshold=1e6)):
        events = list(stream(tiny_wan, skip, given=GivenLatents(source=source), sigmas=SIGMAS[1:]))
        expected = (1,) if skip.passes else (1, 2)
        assert skipped_passes(events) == [(chunk, index) for chunk in range(3) for index in expected]


# TeaCache's rule


def literal_decisions(model, sigmas, threshold):
    """TeaCache's rule as published, with e0 computed from the sinusoid on."""
    coefficients = [2396.76752, -1311.10545, 201.331979, -8.29855975, 0.137887774]
    skipped, accumulated, previous = [], 0.0, None
    for index, sigma in enumerate(sigmas):
        if not sigma:
            continue
        angles = [1000 * sigma * 10000 ** (-i / 16) for i in range(16)]
        sinusoid = torch.tensor([[*map(math.cos, angles), *map(math.sin, angles)]])
        e0 = model.time_projection(model.time_embedding(sinusoid)).double()
        if previous is not None:
            change = ((e0 - previous).abs().mean() / previous.abs().mean()).item()
            accumulated += sum(c * change**power for c, power in zip(coefficients, (4, 3, 2, 1, 0), strict=True))
            if accumulated < threshold:
                skipped.append(index)
            else:
                accumulated = 0.0
        previous = e0
    return skipped


@pytest.mark.parametrize("steps", [4, 20])
def test_the_decisions_are_teacaches(tiny_wan, steps):
    """Over thresholds from none to all passes, and in every chunk alike."""
    sigmas, counts = warp_steps(even_steps(steps), 5.0), []
    for threshold in (1e-3, 0.05, 0.12, 0.2, 0.35, 0.6, 1.0, 2.0, 1e6):
        expected = literal_decisions(tiny_wan, sigmas, threshold)
        events = list(stream(tiny_wan, PassSkip(threshold=threshold), sigmas=sigmas, total_frames=6))
        assert skipped_passes(events) == [(chunk, index) for chunk in range(2) for index in expected]
        counts.append(len(expected))
    assert counts[-1] == steps - 1 and len(set(counts)) > steps // 4  # the sweep tells rules apart


def test_a_skip_list_of_the_same_passes_is_the_same_video(tiny_wan):
    sigmas = warp_steps(even_steps(12), 5.0)
    passes = tuple(literal_decisions(tiny_wan, sigmas, 0.35))
    assert 0 < len(passes) < 11
    by_rule = video(tiny_wan, PassSkip(threshold=0.35), sigmas=sigmas)
    assert torch.equal(by_rule, video(tiny_wan, PassSkip(passes), sigmas=sigmas))


def test_numbers_leave_the_device_in_the_first_chunk_only(tiny_wan, monkeypatch):
    measured, measure = [], pass_skip_run.relative_change
    monkeypatch.setattr(pass_skip_run, "relative_change", lambda *args: measured.append(1) or measure(*args))
    per_chunk = []
    for event in stream(tiny_wan, PassSkip(threshold=0.2)):
        if isinstance(event, ChunkDone):
            per_chunk.append(len(measured))
            measured.clear()
    assert per_chunk == [3, 0, 0]
    list(stream(tiny_wan, PassSkip((1, 2))))
    assert not measured


# What is held


@pytest.mark.parametrize("skip", [PassSkip((1, 2)), PassSkip(threshold=0.2)])
@pytest.mark.parametrize("end", ["success", "closed", "error"])
def test_residuals_are_freed(tiny_wan, residuals, no_gc, skip, end):
    events = stream(tiny_wan, skip)
    if end == "success":
        for event in events:
            if isinstance(event, ChunkDone):
                assert residuals and not any(each() is not None for each in residuals)  # none between chunks
        del event
    elif end == "closed":
        next(events)
        assert residuals[-1]() is not None
        events.close()
    else:
        next(events)
        broken = tiny_wan.patch_embedding.register_forward_pre_hook(lambda *_: 1 / 0)
        try:
            with pytest.raises(ZeroDivisionError):
                next(events)
        finally:
            broken.remove()
    assert residuals and not any(each() is not None for each in residuals)


def test_no_residual_is_made_that_nobody_will_use(tiny_wan, residuals):
    list(stream(tiny_wan, PassSkip(()), total_frames=3))
    assert not residuals
    list(stream(tiny_wan, PassSkip((1,)), total_frames=3))
    assert len(residuals) == 2  # made in pass 0 and still there after pass 1


# The configuration


def test_pass_1_is_the_default():
    assert PassSkip() == PassSkip((1,)) and PassSkip().threshold is None
    assert PassSkip((3, 1, 1)) == PassSkip((1, 3))


@given(
    st.one_of(
        st.builds(PassSkip, passes=st.lists(st.integers(1, 50), max_size=8).map(tuple)),
        st.builds(PassSkip, threshold=st.floats(1e-6, 1e6)),
    )
)
def test_it_survives_json(skip):
    found = PassSkip.from_dict(json.loads(json.dumps(skip.to_dict())))
    assert found == skip and hash(found) == hash(skip)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PassSkip((0, 1)), r"pass 0 cannot be skipped.*list passes from 1 on"),
        (lambda: PassSkip((-1,)), r"pass -1 cannot be skipped; passes of a chunk count from 0"),
        (lambda: PassSkip((1.5,)), "expected a list of whole numbers"),
        (lambda: PassSkip((True,)), "expected a list of whole numbers"),
        (lambda: PassSkip("12"), "expected a list of whole numbers"),
        (lambda: PassSkip(1), "expected a list of whole numbers"),
        (lambda: PassSkip((1,), 0.2), "both were given, leave one out"),
        (lambda: PassSkip(threshold=0), "expected a number above 0"),
        (lambda: PassSkip(threshold=math.nan), "expected a number above 0"),
        (lambda: PassSkip(threshold=math.inf), "expected a number above 0"),
        (lambda: PassSkip(threshold="0.2"), "expected a number above 0"),
        (lambda: PassSkip.from_dict({"steps": [1]}), "an object with 'passes' or 'threshold'"),
        (lambda: PassSkip.from_dict([1]), "an object with 'passes' or 'threshold'"),
        (lambda: parse_passes("1;2"), "whole numbers with commas in between, such as 1 or 1,3"),
        (lambda: parse_passes("1,"), "whole numbers with commas in between"),
        (lambda: config(PassSkip((4,))), r"pass 4 of a chunk with 4 denoising passes cannot be skipped: it is the "
                                         r"clean pass.*list passes from 1 to 3"),
        (lambda: config(PassSkip((1, 7))), r"pass 7 .* cannot be skipped: there is none; list passes from 1 to 3"),
        (lambda: config(PassSkip(), sigmas=(1.0, 0.0)), r"1 denoising pass cannot.*take more steps or skip none"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(make, message):
    with pytest.raises(DummyForcingError, match=message):
        make()


@pytest.mark.parametrize(("text", "expected"), [("", ()), (" ", ()), ("1", (1,)), ("1, 3", (1, 3))])
def test_lists_as_people_type_them(text, expected):
    assert parse_passes(text) == expected
