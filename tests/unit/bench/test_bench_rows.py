"""Figures from samples that are known."""

from types import SimpleNamespace

import pytest

from dummy_forcing.core.bench.rows import Measured, make_rows
from dummy_forcing.core.bench.subjects import ChunkTime, PassTime, VideoSample
from dummy_forcing.core.bench.timing import Entry


def chunk(seconds, attention=None, kv=100, index=2):
    passes = tuple(PassTime(each, None if attention is None else attention * each) for each in seconds)
    return VideoSample((ChunkTime(index, passes, kv, 7),))


def test_medians_by_pass_and_ratios_to_dense(setting):
    given = setting("dense", "window:6:0", steps=1)
    slow = (chunk((1, 2), 0.5), chunk((9, 3), 0.5), chunk((2, 90), 0.5))  # medians 2 and 3
    fast = (chunk((1, 1), 0.5, kv=40),) * 3
    keeps = [policy.memory for policy in given.policies]
    measured = [
        Measured(Entry("dense", slow), keeps[0], 11),
        Measured(Entry("window:6:0", fast), keeps[1], None),
    ]
    dense, window = make_rows(given, 9, measured, decode_seconds=3.0)
    assert (dense.seconds_per_chunk, dense.attention_seconds, dense.other_seconds) == (5, 2.5, 2.5)
    assert (dense.ratio_to_dense, dense.ideal_ratio) == (1, 1)
    assert (window.ratio_to_dense, window.attention_ratio) == (2.5, 2.5)
    assert window.ideal_attention_ratio == pytest.approx(9 / 6)
    assert (dense.dit_fps, dense.decode_fps, dense.end_to_end_fps) == (12 / 5, 4, 12 / 8)
    assert (dense.kv_bytes, window.kv_bytes, dense.peak_bytes) == (100, 40, 11)
    assert dense.samples == ((3,), (12,), (92,))
    assert (dense.key_frames, window.key_frames) == (9, 6)


def test_without_dense_there_are_no_ratios(setting):
    given = setting("window:6:0", steps=1)
    (row,) = make_rows(given, 9, [Measured(Entry("w", (chunk((1, 1)),)), given.policies[0].memory, None)], None)
    assert row.ratio_to_dense is row.ideal_ratio is row.attention_ratio is row.decode_fps is None


def test_a_clip_counts_the_frames_of_the_whole_video(setting):
    given = setting("dense", clip=True)
    chunks = tuple(ChunkTime(index, (PassTime(seconds),), 10 * index) for index, seconds in enumerate((1, 2, 3)))
    sample = VideoSample(chunks, None, 0.25)
    other = VideoSample((ChunkTime(2, (PassTime(12.0),)),))
    measured = [
        Measured(Entry("dense", (sample,)), given.policies[0].memory, None),
        Measured(Entry("other", (other,)), None, None),
    ]
    row, program = make_rows(given, 9, measured, None)
    assert row.seconds_per_chunk == 2
    assert row.dit_fps == pytest.approx(33 / 6)  # 9 latent frames are 1 + 8 * 4 video frames
    assert [each.seconds for each in row.chunks] == [1, 2, 3]
    assert row.classification_seconds == 0.25
    assert (program.seconds_per_chunk, program.ratio_to_dense) == (4, 0.5)
    assert program.key_frames is program.tflops_per_second is None


def test_skipped_passes_cost_next_to_nothing(setting):
    from dummy_forcing.core.methods.pass_skip import PassSkip

    given = setting("dense", skip=PassSkip(passes=(1, 2)))

    def flop(skipped):
        passes = tuple(PassTime(1.0) for _ in range(5))
        taken = SimpleNamespace(chunk=2, passes=passes, kv_bytes=1, process_bytes=1, passes_skipped=skipped)
        sample = VideoSample((taken,))
        (row,) = make_rows(given, 9, [Measured(Entry("dense", (sample,)), given.policies[0].memory, None)], None)
        return row.tflop_per_chunk

    assert flop(2) / flop(0) == pytest.approx(3 / 5, rel=0.05)
