"""What every head reads, frame by frame, against attention over a list of all frames."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.heads.recorder import MassRecorder
from dummy_forcing.core.heads.roles import HeadRole
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.methods.dummy_forcing import DummyForcing
from dummy_forcing.core.methods.window import Window

SINK, NEIGHBOR, DUMMY = (role.value for role in HeadRole)
EASY = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_step(run, context_of):
    """One chunk: every head of every layer reads the context that `context_of(layer, head)` gives."""
    before = [list(frames) for frames in run.committed]
    contexts = {(layer, h): context_of(layer, h) for layer in range(run.layers) for h in range(run.heads)}
    passes = run.step()
    after, run.committed = run.committed, before
    for (layer, head), context in contexts.items():
        q, k, v, out = passes[layer]
        wanted = run.expected(layer, head, q, k, v, context)
        torch.testing.assert_close(out[:, :, head], wanted, atol=1e-5, rtol=1e-5, msg=f"{layer}.{head}: {context}")
    run.committed = after


def context_of_role(role, config, start, chunk_frames):
    """Latent frames of history that a head of this role reads (docs/references.md, "Dummy Forcing's heads")."""
    if role == DUMMY:
        return range(max(0, start - config.packed_frames), start)
    if config.local_context is None:
        return range(start)
    if role == SINK:
        return range(1)
    return range(max(1, start - config.local_context * chunk_frames), start)


@st.composite
def dummy_forcing_runs(draw):
    layers, heads = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    row = st.tuples(*[st.sampled_from([SINK, NEIGHBOR, DUMMY])] * heads)
    config = DummyForcing(
        roles=draw(st.tuples(*[row] * layers)),
        local_context=draw(st.none() | st.integers(1, 3)),
        packed_frames=draw(st.integers(0, 5)),
        classification_chunk=draw(st.integers(0, 2)),
    )
    chunk_frames, chunks = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    total = draw(st.sampled_from([None, chunks * chunk_frames]))
    sizes = {"layers": layers, "heads": heads, "chunk_frames": chunk_frames, "total_frames": total}
    return config, sizes, chunks


@given(run=dummy_forcing_runs())
@settings(EASY, max_examples=120)
def test_dummy_forcing_reads_what_the_roles_say(hand_driven, run):
    config, sizes, chunks = run
    driven = hand_driven(config, **sizes)
    for chunk in range(chunks):
        start = chunk * driven.chunk_frames
        classified = chunk > config.classification_chunk

        def context(layer, head, start=start, classified=classified):
            role = config.roles[layer][head]
            return context_of_role(role, config, start, driven.chunk_frames) if classified else range(start)

        check_step(driven, context)


@given(sink=st.integers(0, 4), recent=st.integers(0, 6), chunk_frames=st.integers(1, 3), bounded=st.booleans())
@EASY
def test_window_reads_its_sink_and_the_recent_frames(hand_driven, sink, recent, chunk_frames, bounded):
    keep = Window(sink, sink + recent + chunk_frames)
    driven = hand_driven(
        keep, heads=2, chunk_frames=chunk_frames, total_frames=6 * chunk_frames if bounded else None
    )
    for chunk in range(6):
        start = chunk * chunk_frames
        first = range(min(start, sink))
        check_step(driven, lambda *_, start=start, first=first: [*first, *range(max(sink, start - recent), start)])
        read = len(first) + len(range(max(sink, start + chunk_frames - recent), start + chunk_frames))
        assert driven.memory.status.history_frames <= read + chunk_frames


def test_dense_reads_everything_and_grows(hand_driven):
    driven = hand_driven(Dense(), layers=2)
    for chunk in range(12):
        check_step(driven, lambda *_, chunk=chunk: range(3 * chunk))
        assert driven.memory.status.history_frames == 3 * (chunk + 1)


def outputs_with_history(hand_driven, config, seed):
    """Output of chunk 3 for fixed q, k, v after a history drawn from `seed`; frames 0 and 8 stay the same."""
    driven = hand_driven(config, seed=seed)
    fixed = hand_driven(Dense(), seed=99)
    opening, last, final = (fixed.attend()[0][:3] for _ in range(3))
    for chunk in range(3):
        q, k, v, _ = driven.attend()[0]
        k, v = k.clone(), v.clone()
        for tensor, first, end in ((k, opening[1], last[1]), (v, opening[2], last[2])):
            if chunk == 0:
                tensor[:, : driven.tokens] = first[:, : driven.tokens]
            if chunk == 2:
                tensor[:, -driven.tokens :] = end[:, -driven.tokens :]
        driven.memory.attend(0, q, k, v, driven.clock())
        driven.memory.commit(driven.clock())
        driven.chunk += 1
    return driven.memory.attend(0, *final, driven.clock())


@pytest.mark.parametrize(
    ("role", "packed_frames", "depends"),
    [(DUMMY, 0, False), (DUMMY, 1, False), (SINK, 1, False), (DUMMY, 2, True), (NEIGHBOR, 1, True)],
    ids=["cut", "last frame", "first frame", "two frames", "neighbor"],
)
def test_heads_ignore_the_history_that_they_do_not_keep(hand_driven, role, packed_frames, depends):
    """Only frame 0 and the last frame are the same in both histories."""
    config = DummyForcing(roles=((role,) * 4,), packed_frames=packed_frames)
    one, other = (outputs_with_history(hand_driven, config, seed) for seed in (1, 2))
    assert torch.equal(one, other) is not depends


def test_sink_and_packed_dummy_heads_share_a_store_and_neighbors_have_their_own(hand_driven):
    config = DummyForcing(roles=((NEIGHBOR, SINK, DUMMY, SINK),))
    driven = hand_driven(config)
    driven.step()
    driven.step()
    assert driven.memory.status.history_frames == (1 + 1 + 1 + 3) / 4
    frame_bytes = 2 * 4 * driven.batch * driven.tokens * driven.head_dim
    assert driven.memory.status.bytes == frame_bytes * (3 * (1 + 3) + 1 * (3 + 3))  # history and tail


@pytest.mark.parametrize("roles", [(NEIGHBOR, SINK, NEIGHBOR, SINK), (DUMMY, SINK, SINK, SINK)])
def test_scoring_after_the_heads_were_grouped_is_an_error(hand_driven, roles):
    """An observer must never mistake a part of the heads, or of the history, for all of it."""
    recorder = MassRecorder(1, row_fraction=1.0, seed=0, wants=lambda clock: clock.chunk == 2)
    driven = hand_driven(DummyForcing(roles=(roles,)), observers=(recorder,))
    driven.step()
    driven.step()
    with pytest.raises(DummyForcingError, match="heads have been grouped already"):
        driven.step()


def test_online_classification_is_the_programming_of_the_recorded_masses(hand_driven):
    recorder = MassRecorder(2, row_fraction=0.5, seed=7, wants=lambda clock: clock.clean and clock.chunk == 1)
    driven = hand_driven(DummyForcing(row_fraction=0.5, seed=7), layers=2, observers=(recorder,))
    driven.step()
    assert driven.memory.status.roles is None
    driven.step()
    masses = recorder.masses(1, 1).mean(0)
    assert torch.equal(driven.memory.status.masses, masses)
    assert torch.equal(driven.memory.status.roles, program_heads(masses, 0.5))
    assert (driven.memory.status.roles == DUMMY).sum() == 4


def test_a_window_scores_the_frames_that_it_holds(hand_driven):
    recorder = MassRecorder(1, row_fraction=1.0, seed=0, wants=lambda clock: clock.clean)
    driven = hand_driven(Window(0, 6), observers=(recorder,))
    for _ in range(4):
        driven.step()
    assert recorder.masses(1, 1)[..., 0].min() > 0
    assert recorder.masses(3, 1)[..., 0].max() == 0


def test_close_frees_everything(hand_driven):
    driven = hand_driven(Dense(), layers=3)
    driven.step()
    assert driven.memory.status.bytes > 0
    driven.memory.close()
    assert driven.memory.status.bytes == 0
    assert driven.memory.status.history_frames == 0


def test_a_chunk_past_the_end_of_a_bounded_video_is_refused(hand_driven):
    driven = hand_driven(Dense(), total_frames=6)
    driven.step()
    driven.step()
    with pytest.raises(DummyForcingError, match="longer than the memory was built for"):
        driven.step()
