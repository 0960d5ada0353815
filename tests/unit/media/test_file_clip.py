"""Files as people have them: where they begin, how fast they are, which colours they have, which way is up."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_media import KINDS, STEP, Kind, turn, write_flat, write_greys

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media import reading as reading_module
from dummy_forcing.core.media.clips import AtRate
from dummy_forcing.core.media.file_clip import FileClip
from dummy_forcing.core.media.reading import open_media, read_clip
from dummy_forcing.core.media.video_file import VideoWriter, read_video

# Weights of red and blue in luma, by ISO/IEC 23091-2 code.
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}
COLOURS = [(255, 255, 255), (128, 128, 128), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (30, 90, 200)]


def to_yuv(rgb, bits, full, matrix):
    red, blue = LUMA[matrix]
    r, g, b = (channel / 255 for channel in rgb)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    scale, most = 1 << (bits - 8), (1 << bits) - 1
    levels = [y * most, u * most + 128 * scale, v * most + 128 * scale]
    if not full:
        levels = [scale * (16 + 219 * y), scale * (128 + 224 * u), scale * (128 + 224 * v)]
    return [min(most, round(level)) for level in levels]


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"])
def test_colours_are_those_of_the_file_to_a_level(tmp_path, pixels, full, matrix):
    bits = 10 if pixels.endswith("10le") else 8
    for colour in COLOURS:
        path = write_flat(tmp_path / "flat.mkv", pixels, to_yuv(colour, bits, full, matrix), full, matrix)
        found = next(iter(FileClip(path)))
        assert found.reshape(-1, 3).unique(dim=0).shape == (1, 3)
        # Eight bits of YUV are coarser than those of RGB: up to 1.2 levels.
        assert (found[0, 0].float() - torch.tensor(colour)).abs().max() <= 2
        if len(set(colour)) == 1:
            assert (found[0, 0].int() - colour[0]).abs().max() <= 1
    white = to_yuv((255, 255, 255), bits, full, matrix)
    found = next(iter(FileClip(write_flat(tmp_path / "white.mkv", pixels, white, full, matrix))))
    assert found.unique().tolist() == [255]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_what_we_write_comes_back_to_a_level(tmp_path, suffix):
    levels = torch.tensor([*COLOURS, (200, 60, 20)], dtype=torch.uint8)
    with VideoWriter(tmp_path / f"a{suffix}", 16, crf=1) as video:
        video.write(levels[:, None, None].expand(-1, 32, 48, -1))
    found = read_video(tmp_path / f"a{suffix}")[0][:, 16, 24]
    assert (found.int() - levels.int()).abs().max() <= 2
    assert (found[:3].int() - levels[:3].int()).abs().max() <= 1


def shown(clip):
    """Which frames of `write_greys` a clip shows."""
    return [round(int(frame[0, 0, 0]) / STEP) for frame in clip]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("start", "frames"), [(0.0, 16), (0.5, 16), (0.75, 5), (1.0, 16), (1.9375, 1)])
def test_a_part_is_measured_from_the_first_frame(tmp_path, kind, start, frames):
    path = write_greys(tmp_path / "a", 33, 16, KINDS[kind])
    first = int(start * 16)
    assert shown(FileClip(path, start, frames / 16)) == list(range(first, first + frames))
    assert shown(FileClip(path, start)) == list(range(first, 33))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [16, 24, 30])
def test_a_file_says_its_rate(tmp_path, kind, rate):
    assert FileClip(write_greys(tmp_path / "a", 33, rate, KINDS[kind])).frame_rate == rate


@pytest.mark.parametrize("rate", [5, 16, 24, 25, 30, 48, 50, Fraction(24000, 1001)])
@pytest.mark.parametrize("count", [25, 26, 81])
def test_a_gif_has_the_rate_that_it_was_written_at(tmp_path, rate, count):
    with VideoWriter(tmp_path / "a.gif", rate) as video:
        video.write(torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 8, 8, 3))
    frames, found = read_video(tmp_path / "a.gif")
    assert len(frames) == count and abs(float(found / rate) - 1) < 0.002
    if rate.denominator == 1:
        assert found == rate


@pytest.mark.parametrize("kind", KINDS)
def test_thirty_frames_a_second_keep_their_speed(tmp_path, kind):
    clip = FileClip(write_greys(tmp_path / "a", 40, 30, KINDS[kind]))
    frames, reading = read_clip(clip, 16, "this")
    assert shown(frames) == [int((index + 0.5) / 16 * 30) for index in range(21)]
    assert (reading.given_frames, reading.given_rate, reading.frames, reading.rate) == (40, 30, 21, 16)
    kept, reading = read_clip(clip, None, "this")
    assert shown(kept) == list(range(40)) and reading.lost(40, "this") == []


def test_a_variable_rate_comes_out_at_its_true_speed(tmp_path):
    """A second at 16 frames, then frames that stay for 3/16 s, as phones and screen recorders write them."""

    def seconds(index):
        return Fraction(index if index < 16 else 16 + 3 * (index - 16), 16)

    clip = FileClip(write_greys(tmp_path / "a", 24, 16, seconds=seconds))
    frames, reading = read_clip(clip, 16, "this")
    expected = [index if index < 16 else 16 + (index - 16) // 3 for index in range(16 + 3 * 8)]
    assert shown(frames)[:38] == expected[:38] and 38 <= len(frames) <= 40
    assert reading.given_rate < 12 and reading.lost(40, "this") != []


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_what_has_the_models_rate_stays_as_it_is(tmp_path, suffix):
    with VideoWriter(tmp_path / f"a{suffix}", 16) as video:
        video.write(torch.arange(0, 240, 6, dtype=torch.uint8)[:, None, None, None].expand(-1, 32, 48, 3))
    frames, reading = read_clip(open_media(tmp_path / f"a{suffix}"), 16, "this")
    assert shown(frames) == list(range(40)) and reading.lost(40, "this") == []


@settings(max_examples=200, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 900), min_size=1, max_size=40),
    tick=st.sampled_from([Fraction(1, 100), Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 30)]),
    rate=st.sampled_from([Fraction(16), Fraction(24000, 1001), Fraction(1, 2)]),
)
def test_each_frame_is_what_a_player_shows_in_the_middle_of_its_time(gaps, tick, rate):
    ends = list(np.cumsum(gaps))

    class Listed:
        width = height = 1
        sound, frame_rate = False, None

        def timed(self):
            from dummy_forcing.core.media.clips import Shown

            for index, (gap, end) in enumerate(zip(gaps, ends, strict=True)):
                yield Shown((int(end) - gap) * tick, int(end) * tick, lambda index=index: index)

    made = [each.pixels() for each in AtRate(Listed(), rate).timed()]
    wanted = max(1, -(-(int(ends[-1]) * tick * rate * 2 - 1) // 2))
    assert len(made) == wanted  # the length to half a frame, at least one
    for index, picture in enumerate(made[1:], 1):
        middle = (index + Fraction(1, 2)) / rate
        assert (int(ends[picture]) - gaps[picture]) * tick <= middle < int(ends[picture]) * tick


def test_sound_is_said_to_be_left_out(tmp_path):
    _, reading = read_clip(FileClip(write_greys(tmp_path / "a", 17, sound=True)), 16, "this")
    assert reading.lost(17, "this") == ["its sound is left out"]
    _, reading = read_clip(FileClip(write_greys(tmp_path / "b", 30, 30, sound=True)), 16, "this")
    assert reading.lost(13, "--keep-frames") == [
        "30 frames at 30 a second were read as 16 at 16 a second, which keeps the speed; --keep-frames takes them "
        "one by one",
        "3 frames at the end are left out",
        "its sound is left out",
    ]


def test_a_turned_video_stands_upright(tmp_path):
    path = turn(write_greys(tmp_path / "a", 3, size=(32, 48)))
    clip = FileClip(path)
    assert (clip.height, clip.width) == (48, 32) and shown(clip) == [0, 1, 2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_turned_picture_stands_upright(tmp_path, orientation, suffix):
    from PIL import Image, ImageOps

    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :24], stored[:16, 24:], stored[16:, :24] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif, quality=95, subsampling=0)
    (found,) = open_media(tmp_path / f"a{suffix}")
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / f"a{suffix}")))
    turned = orientation > 4
    assert found.shape == ((48, 32, 3) if turned else (32, 48, 3))
    assert np.abs(found.numpy().astype(int) - expected).max() <= 2


def test_pictures_of_other_kinds(tmp_path):
    from PIL import Image

    deep = np.full((16, 16), 51400, np.uint16)  # 200 of 255
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("RGBA", (16, 16), (200, 100, 50, 10)).save(tmp_path / "clear.webp", lossless=True)
    two = [Image.new("RGB", (16, 16), colour) for colour in ((200, 200, 200), (9, 9, 9))]
    two[0].save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=two[1:])
    found = {name: list(open_media(tmp_path / name)) for name in ("deep.png", "clear.webp", "phone.jpg")}
    assert {len(frames) for frames in found.values()} == {1}
    assert (found["deep.png"][0].int() - 200).abs().max() <= 1
    assert found["clear.webp"][0][0, 0].tolist() == [200, 100, 50]
    assert (found["phone.jpg"][0].int() - 200).abs().max() <= 1


def test_what_is_no_media_is_said_plainly(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:400])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name, said in [
        ("half.jpg", "cannot read the picture .*half.jpg"),
        ("text.mp4", "cannot read the video .*text.mp4"),
        ("empty.mp4", "cannot read the video .*empty.mp4"),
        ("none.mp4", "cannot read the video .*none.mp4"),
    ]:
        with pytest.raises(DummyForcingError, match=said):
            open_media(tmp_path / name)


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("kept", [0.7, 0.9])
def test_a_cut_file_is_not_taken_for_a_whole_one(tmp_path, kept, in_memory):
    path = write_greys(tmp_path / "a", 33, 16, Kind(".mp4", "mp4", {"movflags": "+faststart"}))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    clip = FileClip(io.BytesIO(path.read_bytes()) if in_memory else path)
    assert clip.frame_rate == 16
    with pytest.raises(
        DummyForcingError, match=r"only the first \d+ of its 33 frames can be read; copy or download"
    ):
        list(clip)
    next(iter(clip))


def test_a_cut_that_falls_between_two_frames_is_found(tmp_path):
    path = write_greys(tmp_path / "a", 33, 16, Kind(".mp4", "mp4", {"movflags": "+faststart"}))
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: ends[19]])
    with pytest.raises(DummyForcingError, match="is cut short or damaged: only the first 20 of its 33 frames"):
        list(FileClip(path))


def test_a_cut_matroska_file_is_found_by_its_bytes(tmp_path):
    path = write_greys(tmp_path / "a", 33, 16, Kind(".mkv", "matroska", {}))
    assert len(list(FileClip(path))) == 33
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DummyForcingError, match=r"only the first \d+ frames can be read"):
        list(FileClip(path))


def test_an_mp4_without_its_index_is_told_from_sound(tmp_path):
    path = write_greys(tmp_path / "a", 33)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DummyForcingError, match="is cut short or damaged: its index is missing; copy or download"):
        FileClip(path)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(DummyForcingError, match="holds no video; choose another file"):
        FileClip(tmp_path / "sound.mp4")


def test_a_part_of_the_index_that_is_left_out_is_no_damage(tmp_path):
    """Phones shorten a video by its edit list."""
    path = write_greys(tmp_path / "a", 33)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 3).to_bytes(4, "big")
    path.write_bytes(data)
    assert 8 < len(list(FileClip(path))) < 33


def test_rounded_stamps_change_nothing_and_nothing_is_said(tmp_path):
    """Matroska counts whole milliseconds: 62 of 62.5."""
    path = write_greys(tmp_path / "a", 33, seconds=lambda index: Fraction(62 * index, 1000))
    clip = FileClip(path)
    assert 16 < clip.frame_rate < 16.2
    frames, reading = read_clip(clip, 16, "this")
    assert shown(frames) == list(range(33)) and reading.lost(33, "this") == []


def test_one_frame_is_one_frame(tmp_path):
    frames, reading = read_clip(FileClip(write_greys(tmp_path / "a", 1, 60)), 16, "this")
    assert len(frames) == 1 and reading.lost(1, "this") == []


@pytest.mark.parametrize(("rate", "given", "read"), [(None, 40, 9), (16, 40, 9)])
def test_no_more_is_read_than_is_used(tmp_path, rate, given, read):
    clip = FileClip(write_greys(tmp_path / "a", given, 30))
    whole = read_clip(clip, rate, "this")[0]
    frames, reading = read_clip(clip, rate, "this", read)
    assert torch.equal(frames, whole[:read]) and reading.more
    assert reading.given_frames < given / 2
    assert reading.lost(read, "this")[-1] == "what comes after its first 9 frames is left out"
    assert not read_clip(clip, rate, "this", len(whole))[1].more


def test_damage_behind_what_is_used_does_not_matter(tmp_path):
    path = write_greys(tmp_path / "a", 33, 16, Kind(".mp4", "mp4", {"movflags": "+faststart"}))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.9)])
    assert shown(read_clip(FileClip(path), 16, "this", 9)[0]) == list(range(9))


def test_a_gap_in_the_time_stamps_is_not_filled(tmp_path):
    path = write_greys(tmp_path / "a", 12, seconds=lambda index: Fraction(index, 16) + (7200 if index > 5 else 0))
    with pytest.raises(DummyForcingError, match=r"gap of 7200 s behind frame 6, at 0\.3125 s; cut .* with this"):
        read_clip(FileClip(path), 16, "this")
    assert shown(read_clip(FileClip(path), None, "this")[0]) == list(range(12))


def test_what_does_not_fit_into_memory_is_refused_while_it_is_read(tmp_path, monkeypatch):
    clip = FileClip(write_greys(tmp_path / "a", 33))
    monkeypatch.setattr(reading_module, "free_bytes", lambda device: 32 * 48 * 3 * 5 * 20)
    with pytest.raises(DummyForcingError, match=r"its first 32 frames of 48 x 32 already need .* are free; use a"):
        read_clip(clip, 16, "this")
    assert len(read_clip(clip, 16, "this", 16)[0]) == 16
