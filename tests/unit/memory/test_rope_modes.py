"""Window-relative positions against their definition: un-roped keys, positions given anew in every pass."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.memory.memory import Cut
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.positions import Absolute, Relative
from dummy_forcing.core.methods.window import RollingWindow, Window
from dummy_forcing.core.stream.config import StreamConfig
from dummy_forcing.core.stream.loop import stream_video
from dummy_forcing.core.stream.noise import SeededNoise

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
EASY = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
EXACT = {"atol": 1e-5, "rtol": 1e-5}


def places(after, opening, recent, start, frames):
    """Places of the opening frames, the recent ones and the pass, which reads them.

    Everything is laid out from 0 on: opening frames, then a gap up to where the recent ones are, or no gap once the
    video is longer than `after`.
    """
    end = start + frames
    length = end if after is None or end <= after else len(opening) + len(recent) + frames
    if after is not None and opening and opening[-1] + 1 == (recent[0] if recent else start):
        length = end  # there is no gap to close
    return [*opening, *(frame - (end - length) for frame in recent)], start - (end - length)


def check(run, qkv, start, after, contexts, out):
    """Every head's output is that of the literal definition; contexts: per head opening and recent frames."""
    for head, (opening, recent) in enumerate(contexts):
        at, own = places(after, opening, recent, start, qkv[0].shape[1] // run.tokens)
        context = [(place, *run.frames[frame]) for place, frame in zip(at, [*opening, *recent], strict=True)]
        torch.testing.assert_close(
            out[:, :, head].double(), run.literal(head, qkv, own, context), **EXACT, msg=f"head {head} at {start}"
        )


AFTER = st.none() | st.integers(0, 24)


def rope_of(after):
    return Absolute() if after is None else Relative(after)


@given(sink=st.integers(0, 4), recent=st.integers(0, 6), chunk=st.integers(1, 3), after=AFTER)
@EASY
def test_windows(roped, sink, recent, chunk, after):
    run = roped(MemoryConfig(Window(sink, sink + recent + chunk), rope_of(after)), heads=1, chunk_frames=chunk)
    for start in range(0, 10 * chunk, chunk):
        opening = list(range(min(start, sink)))
        context = opening, list(range(max(sink, start - recent), start))
        for clean in (False, True):
            qkv = run.draw(chunk)
            check(run, qkv, start, after, [context], run.attend(start, qkv, clean=clean))
        run.commit(start, qkv)


@given(
    after=AFTER, local=st.integers(1, 2), packed=st.integers(0, 3), due=st.integers(0, 3), chunk=st.integers(1, 3)
)
@EASY
def test_dummy_forcing_roles_before_and_after_classification(roped, after, local, packed, due, chunk):
    roles = (SINK, NEIGHBOR, DUMMY, SINK)
    keep = DummyForcing(roles=(roles,), local_context=local, packed_frames=packed, classification_chunk=due)
    run = roped(MemoryConfig(keep, rope_of(after)), heads=4, chunk_frames=chunk)
    for start in range(0, 8 * chunk, chunk):
        if start <= due * chunk:
            contexts = [([], list(range(start)))] * 4
        else:
            by_role = {
                SINK: ([0], []),
                NEIGHBOR: ([], list(range(max(1, start - local * chunk), start))),
                DUMMY: ([], list(range(max(0, start - packed), start))),
            }
            contexts = [by_role[role] for role in roles]
        qkv = run.draw(chunk)
        check(run, qkv, start, after, contexts, run.commit(start, qkv))


@pytest.mark.parametrize("keep", [Window(3, 12), DummyForcing(roles=((SINK, NEIGHBOR),), local_context=2)])
def test_nothing_changes_before_the_video_is_so_long(roped, keep):
    absolute, relative = (roped(MemoryConfig(keep, rope)) for rope in (Absolute(), Relative(21)))
    for start in range(0, 30, 3):
        qkv = absolute.draw(3)
        outs = [run.commit(start, qkv) for run in (absolute, relative)]
        assert torch.equal(*outs) is (start + 3 <= 21)


def test_a_stream_up_to_there_is_bit_equal_to_absolute_positions(tiny_wan, prompt, collect_latents):
    def video(rope, total):
        memory = MemoryConfig(Window(3, 9), rope)
        config = StreamConfig((1.0, 0.5, 0.0), 3, total, (4, 4), channels=4, memory=memory)
        return collect_latents(stream_video(tiny_wan, prompt(), config, SeededNoise(0)))

    absolute, relative = video(Absolute(), 27), video(Relative(21), 27)
    assert torch.equal(absolute[:, :, :21], relative[:, :, :21])
    assert not torch.allclose(absolute[:, :, 21:], relative[:, :, 21:])
    assert torch.equal(video(Relative(21), 21), absolute[:, :, :21])


FAR = 100_002


@pytest.mark.parametrize("after", [21, 1])
def test_a_hundred_thousand_frames_on_relative_positions_are_exact(roped, after):
    run = roped(MemoryConfig(Window(3, 12), Relative(after)))
    run.memory.restart(first_chunk=0, cut=Cut(opening=3, begin=FAR))
    for start in (0, FAR, FAR + 3, FAR + 6):
        run.commit(start, run.draw(3))
    qkv = run.draw(3)
    context = [0, 1, 2], list(range(FAR + 3, FAR + 9))
    check(run, qkv, FAR + 9, after, [context, context], run.attend(FAR + 9, qkv))


def test_a_hundred_thousand_frames_on_absolute_positions_are_exact(roped):
    """The same window at the beginning and far on, where bf16 positions would be 512 frames apart."""
    outs = []
    for begin in (0, FAR):
        run = roped(MemoryConfig(Window(0, 9)))
        run.memory.restart(first_chunk=0, cut=Cut(opening=0, begin=begin))
        for start in range(begin, begin + 9, 3):
            out = run.commit(start, run.draw(3))
        outs.append(out)
    torch.testing.assert_close(*outs, **EXACT)


def test_bf16_opening_frames_do_not_drift_over_thousands_of_commits(roped):
    """Rounding may happen once, never again and again."""
    run = roped(MemoryConfig(Window(2, 5), Relative(1)), heads=1, chunk_frames=1, dtype=torch.bfloat16)
    opening = run.draw(1), run.draw(1)
    for start in range(3000):
        run.commit(start, opening[start] if start < 2 else run.draw(1))
    run.seen.on = True
    run.attend(3000, run.draw(1))
    shift = 3000 - 2 - 2  # the opening frames lie right before the 2 recent ones
    for frame, (_, k, _) in enumerate(opening):
        own = run.rope(k, [frame])  # as it was written, in bf16
        moved = run.rope(own.float(), [shift])  # rows and columns turn too: undo them
        exact = torch.cat([moved[..., :4], own[..., 4:].float()], dim=-1)
        seen = run.seen.keys[:, frame * run.tokens : (frame + 1) * run.tokens].float()
        torch.testing.assert_close(seen, exact, atol=2**-6, rtol=2**-7)
        assert torch.equal(seen[..., 4:], own[..., 4:].float())


@pytest.mark.parametrize("keep", [Dense(), DummyForcing(local_context=None)], ids=["dense", "dummy forcing"])
def test_what_keeps_everything_cannot_be_window_relative(keep):
    with pytest.raises(DummyForcingError, match="window-relative positions need a limited context"):
        MemoryConfig(keep, Relative(21))


def test_positions_cannot_change_before_the_beginning():
    with pytest.raises(DummyForcingError, match="after -1 latent frames; expected 0 or more"):
        Relative(-1)


def test_limited_contexts_can_be_window_relative():
    for keep in (Window(), RollingWindow(), DummyForcing()):
        assert MemoryConfig(keep, Relative()).rope.after == 0
