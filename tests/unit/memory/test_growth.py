"""Chunk-aware growth: the authors' numbers, and what they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dummy_forcing.core.methods.light_forcing.block_choice import count_blocks
from dummy_forcing.core.methods.light_forcing.growth import ChunkGrowth
from dummy_forcing.core.video import VideoShape


def by_chunk(target, base, total, window=None, chunk=3, first=None):
    """Sparsity of every chunk; the first one has no history and is dense."""
    video = VideoShape(1, 1, chunk, total, first)
    growth = ChunkGrowth.solve(target, base, video, window)
    ends = video.chunk_ends()
    return [0.0, *(growth.at(end) for end in ends[1:])], ends


@pytest.mark.parametrize(
    ("target", "base", "total", "window", "expected"),
    [
        (0.88, 0.98, 21, None, [0, 0.827, 0.855, 0.872, 0.883, 0.892, 0.898]),
        (0.80, 0.90, 21, None, [0, 0.747, 0.775, 0.792, 0.803, 0.812, 0.818]),
    ],
)
def test_the_authors_clips(target, base, total, window, expected):
    """What the authors' code gives (docs/references.md, "Light Forcing's growth")."""
    found, _ = by_chunk(target, base, total, window)
    assert [round(each, 3) for each in found] == expected


def test_the_authors_long_video():
    found, _ = by_chunk(0.85, 0.95, 63, 12)
    assert len(found) == 21
    assert (found[1], found[-1]) == (pytest.approx(0.734, abs=1e-3), pytest.approx(0.884, abs=1e-3))


def test_beta_and_blocks_of_the_authors_clips():
    assert round(ChunkGrowth.solve(0.88, 0.98, VideoShape(1, 1, 3, 21), None).slope, 4) == 0.3748
    found, ends = by_chunk(0.88, 0.98, 21)
    kept = [count_blocks(24 * end, each) for each, end in zip(found, ends, strict=True)]  # 1536 / 64 a frame
    assert kept == [72, 24, 31, 36, 42, 46, 51]
    read = sum(end * (1 - each) for end, each in zip(ends, found, strict=True))
    assert round(read / sum(ends), 3) == 0.151


@given(
    st.floats(0.05, 0.95), st.floats(0, 1), st.integers(2, 60), st.integers(1, 5), st.none() | st.integers(6, 40)
)
def test_the_mean_over_later_chunks_is_the_target(target, above, chunks, chunk, window):
    """Weighted by keys, and wherever no chunk has to be cut at 0; nothing gets denser as the video goes on."""
    base = target + above * (0.999 - target)
    found, ends = by_chunk(target, base, chunks * chunk, window, chunk)
    weights = [end if window is None else min(end, window) for end in ends]
    mean = sum(w * s for w, s in zip(weights[1:], found[1:], strict=True)) / sum(weights[1:])
    assert mean >= target - 1e-9
    if all(found[1:]):
        assert mean == pytest.approx(target)
    assert found == sorted(found) and all(0 <= each < 1 for each in found)


def test_a_base_equal_to_the_target_is_the_same_sparsity_for_all():
    assert by_chunk(0.7, 0.7, 21)[0] == [0, *[pytest.approx(0.7)] * 6]


def test_nothing_is_sparse_at_zero():
    assert set(by_chunk(0.0, 0.5, 21)[0]) == {0.0}


@pytest.mark.parametrize(("window", "frames"), [(None, 21), (12, 21), (60, 60)])
def test_a_stream_without_end_grows_as_a_clip_and_stays_there(window, frames):
    endless = ChunkGrowth.solve(0.7, 0.8, VideoShape(1, 1, 3), window)
    assert endless == ChunkGrowth.solve(0.7, 0.8, VideoShape(1, 1, 3, frames), window)
    assert endless.at(frames + 1) == endless.at(10**6) == endless.at(frames)


def test_beyond_the_known_length_the_last_value_holds():
    """The authors' code indexes past its list."""
    growth = ChunkGrowth.solve(0.88, 0.98, VideoShape(1, 1, 3, 21), None)
    assert growth.at(24) == growth.at(21)


def test_a_start_image_and_a_ragged_end():
    assert VideoShape(1, 1, 3, 9, 1).chunk_ends() == [1, 4, 7, 9]
    found, ends = by_chunk(0.7, 0.8, 9, first=1)
    assert sum(e * s for e, s in zip(ends[1:], found[1:], strict=True)) == pytest.approx(0.7 * sum(ends[1:]))


def test_a_video_of_one_chunk_goes_on_at_the_target():
    assert ChunkGrowth.solve(0.7, 0.8, VideoShape(1, 1, 3, 3), None).at(6) == 0.7
