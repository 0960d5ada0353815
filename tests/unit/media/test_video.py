"""Video files: what was written comes back, and a run that fails leaves nothing behind."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.media.video_file import VideoWriter, read_video

pytest.importorskip("av")

SUFFIXES = (".mp4", ".webm", ".gif")


def smooth_clip(frames=7, height=32, width=48):
    """float32 [frames, height, width, 3]: gradients that drift, kind to every codec."""
    t = torch.arange(frames)[:, None, None] / 20
    y = torch.linspace(0, 1, height)[None, :, None]
    x = torch.linspace(0, 1, width)[None, None, :]
    planes = (y + 0 * x + 0 * t, x + 0 * y + 0 * t, (x + y) / 2 + t)
    return torch.stack([0.5 + 0.3 * torch.sin(3 * plane) for plane in planes], dim=-1)


def distinct_clip(frames):
    """float32 [frames, 32, 48, 3]: grey blocks, other ones in every frame, so that none passes for another."""
    blocks = torch.rand(frames, 4, 6, 1, generator=torch.Generator().manual_seed(0)).round()
    return (0.2 + 0.6 * blocks).repeat_interleave(8, 1).repeat_interleave(8, 2).expand(-1, -1, -1, 3)


def write(path, *chunks, fps=16, **options):
    with VideoWriter(path, fps, **options) as video:
        for chunk in chunks:
            video.write(chunk)
    return path


def files_below(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_comes_back_with_its_size_rate_and_looks(tmp_path, suffix):
    clip = smooth_clip()
    frames, fps = read_video(write(tmp_path / f"clip{suffix}", clip))
    assert frames.shape == clip.shape and frames.dtype == torch.uint8
    assert fps == 16 or (suffix == ".gif" and fps == pytest.approx(16, rel=0.02))
    assert psnr(frames / 255, clip) > 33


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.integers(1, 9), height=st.integers(2, 33), width=st.integers(2, 33))
def test_any_size_and_length(tmp_path, suffix, frames, height, width):
    clip = smooth_clip(frames, height, width)
    back, _ = read_video(write(tmp_path / f"clip{suffix}", clip))
    even = suffix != ".gif"
    assert back.shape == (frames, height + height % 2 * even, width + width % 2 * even, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 40), max_size=5).map(sorted))
def test_chunks_lose_repeat_and_swap_no_frame(tmp_path, suffix, cuts):
    clip = distinct_clip(12 if suffix == ".gif" else 40)
    frames, _ = read_video(write(tmp_path / f"pieces{suffix}", *torch.tensor_split(clip, cuts)))
    assert len(frames) == len(clip)
    distances = torch.cdist(frames.flatten(1) / 255, clip.flatten(1))
    assert torch.equal(distances.argmin(dim=1), torch.arange(len(clip)))


# Not for .mp4: libx264 makes slightly different, equally good files from identical frames, even on one thread.
@pytest.mark.parametrize("suffix", [".webm", ".gif"])
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 12), max_size=5).map(sorted))
def test_chunks_of_floats_give_the_same_file_as_one_write_of_bytes(tmp_path, suffix, cuts):
    levels = (smooth_clip(12) * 255).round().to(torch.uint8)
    whole = write(tmp_path / f"whole{suffix}", levels)
    pieces = write(tmp_path / f"pieces{suffix}", *torch.tensor_split(levels / 255, cuts))
    assert pieces.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 200, 90), (255, 255, 255), (0, 0, 0)]
)
def test_constant_colours_are_kept(tmp_path, suffix, colour):
    clip = torch.tensor(colour, dtype=torch.uint8).expand(3, 20, 24, 3)
    frames, _ = read_video(write(tmp_path / f"flat{suffix}", clip))
    assert (frames.int() - clip.int()).abs().max() <= (1 if suffix == ".gif" else 3)


def test_gif_keeps_up_to_256_colours_a_frame(tmp_path):
    palettes = torch.randint(0, 256, (4, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clip = torch.stack([palette[torch.arange(16 * 16)].reshape(16, 16, 3) for palette in palettes])
    frames, _ = read_video(write(tmp_path / "clip.gif", clip))
    assert (frames.int() - clip.int()).abs().max() <= 2


def test_gif_loops_for_ever(tmp_path):
    image = pytest.importorskip("PIL.Image")
    with image.open(write(tmp_path / "clip.gif", smooth_clip())) as gif:
        assert gif.n_frames == 7 and gif.info["loop"] == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_out_of_range_floats_are_clamped(tmp_path, suffix):
    clip = torch.stack([torch.full((16, 16, 3), -0.5), torch.full((16, 16, 3), 1.5)])
    frames, _ = read_video(write(tmp_path / f"clip{suffix}", clip))
    assert frames[0].max() <= 3 and frames[1].min() >= 252


def test_odd_sides_grow_by_repeating_the_border(tmp_path):
    clip = torch.zeros(2, 15, 17, 3)
    clip[:, -1] = clip[:, :, -1] = 1
    frames, _ = read_video(write(tmp_path / "odd.mp4", clip, crf=1))
    assert frames.shape[1:3] == (16, 18)
    assert frames[:, 14:].min() > 235 and frames[:, :, 16:].min() > 235


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), 12.5, 25, 7])
def test_keeps_the_frame_rate(tmp_path, suffix, fps):
    _, back = read_video(write(tmp_path / f"clip{suffix}", smooth_clip(30, 16, 16), fps=fps))
    assert float(back) == pytest.approx(float(fps), rel=0.02 if suffix == ".gif" else 1e-3)


def test_browsers_play_the_mp4(tmp_path):
    import av

    with av.open(str(write(tmp_path / "clip.mp4", smooth_clip()))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.profile == "High"
        frame = next(container.decode(stream))
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, limited


def test_lower_crf_is_better(tmp_path):
    noise = torch.rand(4, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    sizes = [write(tmp_path / f"{crf}.mp4", noise, crf=crf).stat().st_size for crf in (1, 18, 51)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(tmp_path, suffix, failure):
    path = tmp_path / f"clip{suffix}"
    with pytest.raises(failure), VideoWriter(path, 16) as video:
        video.write(smooth_clip(80, 16, 16))  # more than the encoders look ahead, so that there is a file
        assert not path.exists()
        (hidden,) = files_below(tmp_path)
        assert hidden.name.startswith(".") and hidden.suffix == suffix
        raise failure
    assert files_below(tmp_path) == []


def test_a_closed_generator_leaves_nothing(tmp_path):
    def stream():
        with VideoWriter(tmp_path / "clip.mp4", 16) as video:
            while True:
                video.write(smooth_clip(80, 16, 16))
                yield

    running = stream()
    next(running)
    assert files_below(tmp_path)
    running.close()
    assert files_below(tmp_path) == []


def test_an_exception_leaves_the_older_file_alone(tmp_path):
    path = write(tmp_path / "clip.mp4", smooth_clip(3))
    before = path.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(path, 16) as video:
        video.write(smooth_clip(5))
        raise RuntimeError
    assert path.read_bytes() == before
    assert files_below(tmp_path) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_keep_partial_keeps_a_playable_file(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 16, keep_partial=True) as video:
        video.write(smooth_clip(5))
        raise KeyboardInterrupt
    assert len(read_video(path)[0]) == 5
    assert files_below(tmp_path) == [path]


def test_keep_partial_without_frames_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "clip.mp4", 16, keep_partial=True):
        raise KeyboardInterrupt
    assert files_below(tmp_path) == []


def test_finish_early_then_no_more_frames(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 16) as video:
        video.write(smooth_clip(5))
        assert video.frames_written == 5
        assert video.finish() == path == video.finish()
        with pytest.raises(DummyForcingError, match="closed"):
            video.write(smooth_clip(1))
    assert len(read_video(path)[0]) == 5


def test_close_without_keeping(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 16) as video:
        video.write(smooth_clip())
        video.close(keep=False)
        with pytest.raises(DummyForcingError, match="without keeping"):
            video.finish()
    assert files_below(tmp_path) == []


def test_a_video_without_frames_is_an_error(tmp_path):
    with pytest.raises(DummyForcingError, match="no frames"), VideoWriter(tmp_path / "clip.mp4", 16) as video:
        video.write(torch.zeros(0, 16, 16, 3))
    assert files_below(tmp_path) == []


def test_checks_do_not_wait_for_the_first_frame(tmp_path):
    (tmp_path / "file").write_text("in the way")
    bad = {
        "end the file name in": (tmp_path / "clip.avi", {}),
        "end the file name in .mp4": (tmp_path / "clip", {}),
        "choose a folder": (tmp_path / "file" / "clip.mp4", {}),
        "is a folder": (tmp_path, {}),
        "frames per second": (tmp_path / "clip.mp4", {"fps": 0}),
        "write an .mp4": (tmp_path / "clip.gif", {"fps": 60}),
        "from 1": (tmp_path / "clip.mp4", {"crf": 0}),
        "to 63": (tmp_path / "clip.webm", {"crf": 64}),
    }
    (tmp_path / "folder.mp4").mkdir()
    bad["is a folder"] = (tmp_path / "folder.mp4", {})
    for message, (path, options) in bad.items():
        with pytest.raises(DummyForcingError, match=message):
            VideoWriter(path, **{"fps": 16, **options})
    assert files_below(tmp_path) == [tmp_path / "file"]


@pytest.mark.parametrize("fps", [-1, float("nan"), float("inf"), "fast", None, 1e-9, 5000])
def test_impossible_frame_rates(tmp_path, fps):
    with pytest.raises(DummyForcingError, match="frames per second"):
        VideoWriter(tmp_path / "clip.mp4", fps)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DummyForcingError, match="choose a folder"):
            VideoWriter(tmp_path / "clip.mp4", 16)
    finally:
        tmp_path.chmod(0o700)


def test_makes_missing_folders_with_the_first_frame(tmp_path):
    video = VideoWriter(tmp_path / "a" / "b" / "clip.mp4", 16)
    assert list(tmp_path.iterdir()) == []
    video.write(smooth_clip(2))
    assert video.finish().is_file()


def test_an_exception_removes_the_folders_that_were_made(tmp_path):
    (tmp_path / "old").mkdir()
    for folder in ("old", "new/deep", "old/deep"):
        with pytest.raises(RuntimeError), VideoWriter(tmp_path / folder / "clip.gif", 16) as video:
            video.write(smooth_clip(2))
            raise RuntimeError
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


def test_names_that_are_long_or_not_ascii(tmp_path):
    for name in ("x" * 250 + ".mp4", "\u732b" * 80 + ".MP4"):
        assert len(read_video(write(tmp_path / name, smooth_clip(2)))[0]) == 2


@pytest.mark.skipif(os.name != "posix", reason="POSIX file size limit")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep_partial", [False, True])
def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, suffix, keep_partial):
    import resource

    noise = torch.rand(64, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(DummyForcingError, match="free disk space"):
            write(tmp_path / f"clip{suffix}", noise, noise, keep_partial=keep_partial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_below(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="POSIX permission bits")
def test_others_may_read_the_file_as_the_umask_says(tmp_path):
    old = os.umask(0o022)
    try:
        assert write(tmp_path / "clip.mp4", smooth_clip(2)).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(old)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(16, 16, 3),
        torch.zeros(1, 3, 16, 16),
        torch.zeros(1, 16, 16, 4),
        torch.zeros(1, 16, 16, 3).long(),
    ],
)
def test_frames_of_another_layout(tmp_path, frames):
    with pytest.raises(DummyForcingError, match="video frames"):
        write(tmp_path / "clip.mp4", frames)
    assert files_below(tmp_path) == []


def test_frames_of_another_size(tmp_path):
    with pytest.raises(DummyForcingError, match="48x32, got 48x30"):
        write(tmp_path / "clip.mp4", smooth_clip(), smooth_clip(height=30))


def test_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)  # makes `import av` fail
    with pytest.raises(DummyForcingError, match="pip install av"):
        VideoWriter(tmp_path / "clip.mp4", 16)
    with pytest.raises(DummyForcingError, match="pip install av"):
        read_video(tmp_path / "clip.mp4")


def test_reading_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    for name in ("text.mp4", "missing.mp4"):
        with pytest.raises(DummyForcingError, match="cannot read"):
            read_video(tmp_path / name)
