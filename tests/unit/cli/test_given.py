"""--image, --extend, --source, --strength, --context-noise and --refine."""

import json
from fractions import Fraction

import pytest
import torch
from odd_media import turn, write_greys

from dummy_forcing.core.media.video_file import VideoWriter, read_video


@pytest.fixture
def clip(tmp_path):
    """A function: a file of smooth random frames."""

    def write(frames, height=32, width=48, name="clip.gif"):
        generator = torch.Generator().manual_seed(frames)
        coarse = torch.rand(1, 3, frames, 4, 6, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, (frames, height, width), mode="trilinear")
        with VideoWriter(tmp_path / name, 16) as video:
            video.write(smooth[0].movedim(0, -1))
            video.finish()
        return tmp_path / name

    return write


@pytest.fixture
def picture(tmp_path):
    """A function: a .png file."""

    def write(height=32, width=48):
        from PIL import Image

        Image.new("RGB", (width, height), (200, 30, 60)).save(tmp_path / "start.png")
        return tmp_path / "start.png"

    return write


def report_of(run, capsys, *argv):
    assert run("generate", "--output", "out/a.gif", "--json", "-", *argv) == 0
    return json.loads(capsys.readouterr().out)


def test_a_video_begins_with_a_picture(run, capsys, picture, tiny_model, tmp_path):
    report = report_of(run, capsys, "--image", picture(), "--policy", "dense")
    assert (report["latent_frames"], report["chunks"], report["passes"]) == (1 + 9, 4, 1 + 3 * 3)
    assert report["given"] == {
        "path": str(tmp_path / "start.png"), "frames": 1, "given_frames": 1, "given_frame_rate": None,
        "sound_left_out": False, "strength": None,
    }  # fmt: skip
    assert read_video(tmp_path / "out/a.gif")[0].shape == (37, 32, 48, 3)


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (9, 3), (13, 4), (25, 7)])
def test_a_video_goes_on(run, capsys, clip, frames, latents):
    report = report_of(run, capsys, "--extend", clip(frames), "--latents", latents + 6)
    assert report["latent_frames"] == latents + 6
    assert report["given"]["frames"] == frames
    assert report_of(run, capsys, "--extend", clip(frames))["latent_frames"] == latents + 9
    assert report_of(run, capsys, "--extend", clip(frames), "--seconds", 0.1)["latent_frames"] == latents + 3


def test_a_video_is_changed(run, capsys, clip, tiny_model):
    report = report_of(run, capsys, "--source", clip(21), "--strength", 0.9)
    assert report["latent_frames"] == 6
    assert report["sigmas"] == pytest.approx([0.9, 5 / 6, 0])
    assert report["given"]["strength"] == 0.9
    assert report_of(run, capsys, "--source", clip(21))["sigmas"] == pytest.approx([0.8, 0])
    assert report_of(run, capsys, "--source", clip(24), "--latents", 3)["latent_frames"] == 3
    assert report_of(run, capsys, "--source", clip(17))["latent_frames"] == 3


def test_at_full_strength_nothing_of_the_source_is_left(run, capsys, clip, tmp_path):
    path, videos = clip(9), []
    for options in (("--latents", 3), ("--source", path, "--strength", 1), ("--source", path, "--strength", 0.9)):
        report_of(run, capsys, *options)
        videos.append((tmp_path / "out/a.gif").read_bytes())
    assert videos[0] == videos[1] != videos[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--image", "clip.gif"), "holds 9 frames; give one picture or use --extend"),
        (("--image", "clip.gif", "--keep-frames"), "--keep-frames goes with --extend VIDEO or --source VIDEO"),
        (
            ("--extend", "wide.gif"),
            "is 32x64 pixels (height x width), the video 32x48; scale or cut the file to 32x48, or use --size",
        ),
        (
            ("--extend", "clip.gif", "--latents", 5),
            "cannot be cut into chunks of 3 behind 3 given ones; use --latents 6",
        ),
        (("--extend", "clip.gif", "--latents", 3), "use --latents 6"),
        (("--source", "five.gif"), "less than a chunk; give a video of at least 9"),
        (("--source", "clip.gif", "--latents", 6), "has 9 frames, the video is to have 21"),
        (("--source", "clip.gif", "--seconds", 1), "use a longer source or --latents 3"),
        (("--source", "clip.gif", "--strength", 0), "expected a number above 0 up to 1"),
        (("--strength", 0.5), "--strength goes with --source VIDEO"),
        (("--source", "none.gif"), "cannot read the video"),
        (("--source", "clip.gif", "--extend", "clip.gif"), "not allowed with"),
        (("--refine",), "set a context noise, such as 0.1"),
        (("--context-noise", 1), "expected a number from 0 below 1"),
    ],
)
def test_files_and_options_that_do_not_fit(fails, clip, options, said):
    clip(9), clip(5, name="five.gif"), clip(9, width=64, name="wide.gif")
    assert said in fails("generate", *options)


def test_a_video_of_another_rate_keeps_its_speed_and_what_is_lost_is_said(run, capsys, tmp_path):
    source = write_greys(tmp_path / "phone", 40, 30, sound=True)
    report = report_of(run, capsys, "--source", source)
    assert report["latent_frames"] == 6  # 21 frames at 16 a second
    assert report["given"] == {
        "path": str(source), "frames": 21, "given_frames": 40, "given_frame_rate": 30.0, "sound_left_out": True,
        "strength": 0.8,
    }  # fmt: skip
    assert run("generate", "--output", "out/a.gif", "--extend", source, "--keep-frames", "--latents", 13) == 0
    said = capsys.readouterr().out
    assert "phone.mp4: its sound is left out" in said and "phone.mp4: 3 frames at the end are left out" in said
    assert "were read as" not in said
    assert run("generate", "--output", "out/a.gif", "--extend", source, "--latents", 9) == 0
    assert "phone.mp4: 40 frames at 30 a second were read as 21 at 16 a second" in capsys.readouterr().out


def test_turned_files_stand_upright(run, capsys, picture, tmp_path):
    """Both are stored 48 high and 32 wide and turned to the video's 32 x 48."""
    from PIL import Image

    report_of(run, capsys, "--extend", turn(write_greys(tmp_path / "phone", 5, size=(48, 32))), "--latents", 5)
    stored = Image.open(picture(48, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "phone.jpg", exif=exif)
    report_of(run, capsys, "--image", tmp_path / "phone.jpg", "--latents", 4)


def test_context_noise_and_refining(run, capsys, tmp_path):
    videos = []
    for options in ((), ("--context-noise", 0.1), ("--context-noise", 0.1, "--refine")):
        report = report_of(run, capsys, "--policy", "dense", *options)
        assert (report["context_noise"], report["refine"]) == (0.1 if options else 0, "--refine" in options)
        assert report["passes"] == 9
        videos.append((tmp_path / "out/a.gif").read_bytes())
    assert len(set(videos)) == 3


def test_a_short_source_of_another_rate_is_counted_as_it_is(run, fails, tmp_path):
    path = write_greys(tmp_path / "fast", 9, 25)
    said = fails("generate", "--output", "out/a.gif", "--source", path)
    assert (
        "fast.mp4 has 9 frames at 25 a second, which are 6 at 16 a second, less than a chunk; give a video of at"
        in said
    )
    assert "at least 9 frames, or take its frames one by one with --keep-frames" in said
    said = fails("generate", "--output", "out/a.gif", "--source", write_greys(tmp_path / "one", 1))
    assert "one.mp4 has 1 frame, less than a chunk; give a video of at least 9 frames" in said
    assert "keep" not in said
    assert run("generate", "--output", "out/a.gif", "--source", path, "--keep-frames") == 0


def test_a_source_is_read_as_far_as_it_is_used(run, capsys, fails, tmp_path):
    path = write_greys(tmp_path / "long", 41)
    assert report_of(run, capsys, "--source", path, "--latents", 3)["given"]["frames"] == 9
    assert report_of(run, capsys, "--source", path, "--seconds", 0.5)["given"]["frames"] < 41
    jump = write_greys(
        tmp_path / "jump", 12, seconds=lambda index: Fraction(index, 16) + (7200 if index > 5 else 0)
    )
    assert "jump.mp4: the time stamps of the video have a gap" in fails("generate", "--extend", jump)
