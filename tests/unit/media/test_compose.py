"""Clips side by side: every pixel of a clip is where it should be, unchanged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media.compose import side_by_side

pytest.importorskip("PIL")


def noise(frames, height, width, seed=0):
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(
    widths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    height=st.integers(1, 20),
    scale=st.integers(1, 3),
    gap=st.integers(0, 9),
)
def test_clips_are_copied_pixel_by_pixel(widths, height, scale, gap):
    clips = [noise(2, height, width, seed) for seed, width in enumerate(widths)]
    canvas = side_by_side(clips, ["label"] * len(clips), scale, gap)
    assert canvas.shape[2] == scale * sum(widths) + gap * (len(widths) + 1)
    top, left = canvas.shape[1] - gap - scale * height, gap
    for clip, width in zip(clips, widths, strict=True):
        shown = canvas[:, top : top + scale * height, left : left + scale * width]
        for row in range(scale):
            for column in range(scale):
                assert torch.equal(shown[:, row::scale, column::scale], clip)
        left += scale * width + gap


def test_composing_chunks_equals_composing_the_clip():
    clips, labels = [noise(7, 24, 40), noise(7, 24, 40, 1)], ["Dense", "Dummy Forcing"]
    chunks = [side_by_side([clip[part] for clip in clips], labels) for part in (slice(0, 3), slice(3, 7))]
    assert torch.equal(torch.cat(chunks), side_by_side(clips, labels))


def test_labels_are_drawn_above_their_clip_only():
    clips = [torch.zeros(1, 60, 100, 3)] * 2
    plain = side_by_side(clips, ["", ""])
    labelled = side_by_side(clips, ["", "Dummy"])
    changed = (plain != labelled).any(dim=-1)[0]
    top, half = plain.shape[1] - 8 - 60, plain.shape[2] // 2
    assert changed[:top, half:].any()
    assert not changed[top:].any() and not changed[:, :half].any()


def test_a_long_label_stays_over_its_clip():
    clips = [torch.zeros(1, 60, 100, 3)] * 2
    changed = side_by_side(clips, ["very long label " * 20, ""]) != side_by_side(clips, ["", ""])
    columns = changed.any(dim=-1).any(dim=1)[0].nonzero()
    assert len(columns) and columns.min() >= 8 and columns.max() < 108 + 2


def test_bytes_and_floats_compose_alike():
    levels = (noise(2, 8, 8) * 255).round().to(torch.uint8)
    assert torch.equal(side_by_side([levels], ["a"]), side_by_side([levels / 255], ["a"]))


def test_inputs_are_left_alone():
    clip = noise(2, 8, 8) * 2 - 0.5
    copy = clip.clone()
    side_by_side([clip], ["a"])
    assert torch.equal(clip, copy)


def test_side_by_side_errors():
    clip = noise(3, 8, 8)
    with pytest.raises(DummyForcingError, match="equal frame counts"):
        side_by_side([clip, clip[:2]], ["a", "b"])
    with pytest.raises(DummyForcingError, match="2 labels for 1 clips"):
        side_by_side([clip], ["a", "b"])
    with pytest.raises(DummyForcingError, match="clips must be at least 1"):
        side_by_side([], [])
    with pytest.raises(DummyForcingError, match="scale must be at least 1"):
        side_by_side([clip], ["a"], scale=0)
    with pytest.raises(DummyForcingError, match="shape"):
        side_by_side([clip[0]], ["a"])
