"""Clips read frame by frame: what a whole read gives, no more in memory than a piece."""

import io
from fractions import Fraction
from itertools import islice

import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media import clips
from dummy_forcing.core.media.clips import Pairs, PictureClip
from dummy_forcing.core.media.file_clip import FileClip
from dummy_forcing.core.media.frames import resize
from dummy_forcing.core.media.video_file import VideoWriter, read_video

RATE = Fraction(16)


def levels(count, height=32, width=48):
    """Frames that are each of one grey."""
    return torch.stack([torch.full((height, width, 3), 5 * index, dtype=torch.uint8) for index in range(count)])


@pytest.fixture
def file(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 16) as video:
        video.write(levels(40))
    return tmp_path / "clip.mp4"


def test_a_file_gives_its_frames_every_time(file):
    whole, _ = read_video(file)
    clip = FileClip(str(file))
    assert (clip.frames, clip.height, clip.width, clip.frame_rate) == (40, 32, 48, RATE)
    for _ in range(2):
        assert torch.equal(torch.stack(list(clip)), whole)


def test_bytes_in_memory_may_be_read_twice_at_once(file):
    whole, _ = read_video(file)
    source = io.BytesIO(file.read_bytes())
    one, other = iter(FileClip(source)), iter(FileClip(source))
    for first, second, expected in zip(one, other, whole, strict=True):
        assert torch.equal(first, expected) and torch.equal(second, expected)


def test_a_part_of_a_file(file):
    whole, _ = read_video(file)
    part = FileClip(file, start=1.0, duration=0.5)
    assert part.frames is None and torch.equal(torch.stack(list(part)), whole[16:24])
    assert torch.equal(torch.stack(list(FileClip(file, start=2.0))), whole[32:])


def test_pictures_come_as_bytes():
    found = torch.stack(list(PictureClip(levels(3) / 255, RATE)))
    assert torch.equal(found, levels(3))


@pytest.mark.parametrize("count", [1, 16, 17, 32])
def test_pairs_come_in_pieces(count):
    pairs = Pairs(PictureClip(levels(count)), PictureClip(levels(count)))
    pieces = list(pairs)
    assert [len(a) for a, _ in pieces] == [16] * (count // 16) + ([count % 16] if count % 16 else [])
    assert all(torch.equal(a, b) for a, b in pieces) and pairs.goes_on is None
    assert torch.equal(torch.cat([a for a, _ in pieces]), levels(count))


@pytest.mark.parametrize(("a", "b", "longer"), [(5, 3, "a"), (3, 5, "b"), (1, 16, "b")])
def test_the_shorter_one_ends_it(a, b, longer):
    pairs = Pairs(PictureClip(levels(a)), PictureClip(levels(b)))
    ((one, other),) = pairs
    assert len(one) == len(other) == min(a, b) and pairs.goes_on == longer


def test_b_takes_the_size_of_a():
    ((a, b),) = Pairs(PictureClip(levels(2, 20, 30)), PictureClip(levels(2, 40, 50)))
    assert torch.equal(a, b) and a.shape == (2, 20, 30, 3)


def test_a_smaller_picture_averages_a_larger_one_stays_in_range():
    chess = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    chess[:, ::2, ::2] = chess[:, 1::2, 1::2] = 255
    small = resize(chess, 4, 4)[0, 1:3, 1:3].float()
    assert small.sub(127.5).abs().max() < 2
    large = resize(chess, 100, 90)
    assert large.shape == (1, 100, 90, 3) and large.dtype == torch.uint8
    assert resize(chess, 32, 32) is chess


def test_large_frames_come_in_smaller_pieces(monkeypatch):
    monkeypatch.setattr(clips, "MOST_BYTES", 2 * 4 * 32 * 48 * 3)
    assert [len(a) for a, _ in Pairs(PictureClip(levels(10)), PictureClip(levels(10)))] == [4, 4, 2]
    monkeypatch.setattr(clips, "MOST_BYTES", 1)
    assert Pairs(PictureClip(levels(10)), PictureClip(levels(10))).piece_frames == 1


def test_no_more_is_read_than_is_asked_for(file):
    class Counted(PictureClip):
        read = 0

        def __iter__(self):
            for frame in super().__iter__():
                Counted.read += 1
                yield frame

    pieces = iter(
        Pairs(Counted(levels(1).expand(1000, -1, -1, -1)), PictureClip(levels(1).expand(1000, -1, -1, -1)))
    )
    list(islice(pieces, 2))
    assert Counted.read == 32


def test_bad_input(tmp_path, file):
    with pytest.raises(DummyForcingError, match="there are no frames"):
        PictureClip(levels(1)[:0])
    with pytest.raises(DummyForcingError, match="cannot read the video"):
        FileClip(str(tmp_path / "none.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DummyForcingError, match="cannot read the video"):
        FileClip(tmp_path / "text.mp4")
    with pytest.raises(DummyForcingError, match="holds no frames"):
        FileClip(file, start=100)
