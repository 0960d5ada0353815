"""Compare Videos in the real ComfyUI: what it takes, what it says, and what browsers are told and shown."""

import io as bytes_io
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from frame_packs import unpack
from odd_media import KINDS, write_flat, write_greys
from PIL import Image

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.media.quality import psnr
from dummy_forcing.core.media.video_file import VideoWriter, read_video
from dummy_forcing.nodes.compare import compare_videos as compare
from dummy_forcing.nodes.compare.compare_videos import CompareVideos
from dummy_forcing.nodes.live.live_streams import LiveStreams
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld


def made_in(streams, workflow_id="workflow"):
    """Streams of the nodes of a workflow."""
    return [streams.find(state["prompt_id"], state["id"]) for state in streams.states_of(workflow_id)]


@pytest.fixture(autouse=True)
def streams(tmp_path, monkeypatch):
    """The registry that the node uses."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    made = LiveStreams(lambda: tmp_path / "live", lambda state: json.dumps(state, allow_nan=False))
    monkeypatch.setattr(compare, "STREAMS", made)
    return made


@pytest.fixture
def shown(streams):
    """A function that gives the state of the stream made last, and the frames of all its chunks."""

    def look():
        stream = made_in(streams)[-1]
        state = stream.state()
        chunks = range(sum(count for count, _ in state["runs"]))
        files = [file for chunk in chunks for file in unpack(stream.chunk_file(chunk).read_bytes())]
        return state, [np.asarray(Image.open(bytes_io.BytesIO(file))).astype(float) for file in files]

    return look


def run(a, b, **options):
    from comfy_api.latest._io import Hidden

    hidden = {Hidden.unique_id: "9", Hidden.extra_pnginfo: {"workflow": {"id": "workflow"}}}
    node = CompareVideos.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    return node.execute(a, b, **options).args


def grey(*levels, height=32, width=48):
    return torch.stack([torch.full((height, width, 3), level / 255) for level in levels])


def video_file(path, frames, rate=16):
    from comfy_api.latest import InputImpl

    with VideoWriter(path, rate) as video:
        video.write(frames)
    return InputImpl.VideoFromFile(str(path))


def video_of(frames, rate=16):
    from comfy_api.latest import InputImpl, Types

    return InputImpl.VideoFromComponents(Types.VideoComponents(images=frames, frame_rate=Fraction(rate)))


def test_two_images(shown):
    report, plot = run(grey(100, 100), grey(100, 110), label_a="one", label_b="other")
    state, frames = shown()
    expected = 10 * math.log10(255**2 / (10**2 / 2))
    assert f"one and other: 2 frames of 48 x 32 at 16 FPS\nPSNR {expected:.2f} dB" in report
    assert "in frame 1 (0.1 s)" in report and "Note" not in report and "KV" not in report
    assert plot.ndim == 4 and plot.shape[-1] == 3 and plot.std() > 0
    found = state["comparison"]
    assert found["labels"] == ["one", "other"] and found["frames"] == 2 and found["costs"] == {}
    assert found["psnr"] == round(expected, 2) and found["psnr_curve"][0] is None
    assert found["ssim_curve"][0] == 1 and found["worst"] == {"frame": 1, "ssim": found["ssim_curve"][1]}
    assert (state["width"], state["height"], state["status"]) == (48, 32, "finished")
    assert [frame.shape for frame in frames] == [(32, 96, 3)] * 2
    assert np.abs(frames[1][:, :48] - 100).max() < 3 and np.abs(frames[1][:, 48:] - 110).max() < 3


def test_halves_lie_on_whole_blocks_and_do_not_bleed(shown):
    black, white = grey(0, height=20, width=30), grey(255, height=20, width=30)
    run(black, white)
    (frame,) = shown()[1]
    assert frame.shape == (20, 64, 3)
    assert frame[:, :32].max() == 0 and frame[:, 32:].min() == 255


def test_equal_clips_are_said_to_be_equal(shown):
    clip = torch.rand(3, 32, 48, 3)
    report, _ = run(clip, clip.clone())
    state, frames = shown()
    assert "PSNR equal" in report and "SSIM 1.0000" in report
    assert state["comparison"]["psnr"] is None and state["comparison"]["psnr_curve"] == [None] * 3
    assert all((frame[:, :48] == frame[:, 48:]).all() for frame in frames)  # coded equally, too


@pytest.mark.parametrize("kind", ["file", "memory", "components"])
def test_videos_of_any_kind(tmp_path, shown, kind):
    from comfy_api.latest import InputImpl

    frames = torch.rand(40, 32, 48, 3)
    file = video_file(tmp_path / "a.mp4", frames)
    decoded = read_video(tmp_path / "a.mp4")[0] / 255
    given = {
        "file": lambda: file,
        "memory": lambda: InputImpl.VideoFromFile(bytes_io.BytesIO((tmp_path / "a.mp4").read_bytes())),
        "components": lambda: video_of(decoded),
    }[kind]()
    assert "PSNR equal" in run(given, given)[0]
    assert shown()[0]["runs"] == [[2, 16], [1, 8]]
    report, _ = run(given, frames)
    assert f"PSNR {psnr(decoded, (frames * 255).round() / 255):.2f} dB" in report


def test_a_trimmed_video_is_what_is_left_of_it(tmp_path, shown):
    video = video_file(tmp_path / "a.mp4", grey(*range(0, 200, 5)))
    part = video.as_trimmed(1.0, 0.5)
    assert "PSNR equal" in run(part, read_video(tmp_path / "a.mp4")[0][16:24] / 255)[0]
    assert shown()[0]["comparison"]["frames"] == 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_of_a_file_is_sixteen_frames_wherever_its_times_begin(tmp_path, shown, kind):
    from comfy_api.latest import InputImpl

    path = write_greys(tmp_path / "a", 33, 16, KINDS[kind])
    part = InputImpl.VideoFromFile(str(path), start_time=0.5, duration=1.0)
    whole = read_video(path)[0]
    assert "PSNR equal" in run(part, whole[8:24] / 255)[0]
    assert shown()[0]["comparison"]["frames"] == 16 and shown()[0]["comparison"]["notes"] == []


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_white_and_grey_of_any_depth_are_what_they_are(tmp_path, pixels, full):
    from comfy_api.latest import InputImpl

    scale = 4 if pixels.endswith("10le") else 1
    white, grey_level = (256 * scale - 1, 128 * scale) if full else (235 * scale, 126 * scale)
    for level, expected in ((white, 255), (grey_level, 128)):
        yuv = (level, 128 * scale, 128 * scale)
        path = write_flat(tmp_path / "a.mkv", pixels, yuv, full, 1)
        report, _ = run(InputImpl.VideoFromFile(str(path)), grey(expected))
        assert "PSNR equal" in report or float(report.split("PSNR ")[1].split()[0]) > 48  # at most one level


@pytest.mark.parametrize("rate", [24, 48])
def test_our_gifs_play_at_the_rate_that_they_were_written_at(tmp_path, rate):
    from comfy_api.latest import InputImpl

    with VideoWriter(tmp_path / "a.gif", rate) as video:
        video.write(grey(*range(0, 200, 4)))
    gif = InputImpl.VideoFromFile(str(tmp_path / "a.gif"))
    assert f"50 frames of 48 x 32 at {rate} FPS" in run(gif, gif)[0]


def test_what_differs_besides_the_frames_is_said(tmp_path, shown):
    a = video_file(tmp_path / "a.mp4", grey(100).expand(20, -1, -1, -1), 16)
    b = video_file(tmp_path / "b.mp4", grey(100, height=64, width=64).expand(9, -1, -1, -1), 24)
    report, _ = run(a, b, label_a="left", label_b="right")
    assert "9 frames of 48 x 32 at 16 FPS" in report
    assert "Note: right was scaled from 64 x 64 to 48 x 32 pixels, which changes its shape." in report
    assert "Note: left has 16 frames a second and right 24" in report
    assert "Note: left goes on after the last frame of the other." in report
    state, frames = shown()
    assert [note["code"] for note in state["comparison"]["notes"]] == ["stretched", "frame_rates", "goes_on"]
    assert state["status"] == "finished" and len(frames) == 9 and frames[0].shape == (32, 96, 3)


def test_the_words_of_the_notes_are_those_of_the_browser(comfyui):
    from pathlib import Path

    from dummy_forcing.nodes.compare.comparison import NOTES

    root = Path(__file__).resolve().parents[2]
    words = json.loads((root / "locales" / "en" / "main.json").read_text("utf-8"))["dummyForcing"]
    assert {code: words.get(f"compare.note.{code}") for code in NOTES} == NOTES


@pytest.fixture
def toy(host):
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    return model, *ToyWorld.execute("a red circle moving right").args[:2]


def made(toy, length=33, model=None):
    node = StreamARVideo.PREPARE_CLASS_CLONE(None)
    return node.execute(model or toy[0], *toy[1:], 0, 0, length, 1).args


def test_two_runs(toy, shown):
    patched = DummyForcingPatch.execute(toy[0], 0.5, 1).args[0]
    (video, *_, dense), (*_, forced) = made(toy, 57), made(toy, 57, patched)
    report, plot = run(dense, forced, label_a="dense", label_b="Dummy Forcing")
    costs, ratio = shown()[0]["comparison"]["costs"], forced.report.kv_peak_bytes / dense.report.kv_peak_bytes
    assert ratio < 0.9 and f"{ratio:.2f}x" in report
    assert costs["kv_peak_bytes"] == [dense.report.kv_peak_bytes, forced.report.kv_peak_bytes]
    assert costs["dit_fps"] == [dense.report.dit_fps, forced.report.dit_fps]
    assert set(costs) == {"dit_fps", "end_to_end_fps", "kv_peak_bytes", "seconds"}
    assert "57 frames of 96 x 96" in report and "(Dummy Forcing)" in report
    assert plot.shape[1] > run(video, video)[1].shape[1]  # bars


def test_a_run_is_the_video_that_it_made(toy, shown):
    video, _, _, made_run = made(toy)
    report, _ = run(made_run, video)
    costs = shown()[0]["comparison"]["costs"]
    assert "PSNR equal" in report and "(A)" in report and "(B)" not in report
    assert costs["seconds"] == [made_run.report.seconds, None]


def test_images_of_a_run_differ_by_comfyuis_decoder_alone(toy, shown):
    """It reads files up to a level darker: white as 254 of 255."""
    video, _, _, made_run = made(toy)
    run(video.get_components().images, made_run)
    assert shown()[0]["comparison"]["psnr"] > 50


def test_the_players_stop_ends_it_with_what_it_has(monkeypatch, shown, streams):
    add = compare.QualityMeter.add

    def stop(self, a, b):
        add(self, a, b)
        made_in(streams)[-1].ask_stop()

    monkeypatch.setattr(compare.QualityMeter, "add", stop)
    report, _ = run(grey(*[100] * 40), grey(*[100] * 40))
    state, frames = shown()
    assert "16 frames" in report and state["status"] == "stopped" and len(frames) == 16


def test_comfyuis_stop_ends_the_run(host, monkeypatch, streams):
    add = compare.QualityMeter.add

    def interrupt(self, a, b):
        add(self, a, b)
        host.interrupt_current_processing()

    monkeypatch.setattr(compare.QualityMeter, "add", interrupt)
    with pytest.raises(host.InterruptProcessingException):
        run(grey(*[100] * 40), grey(*[100] * 40))
    assert made_in(streams)[-1].state()["status"] == "stopped"


def test_long_clips_have_a_small_state(shown):
    clip = grey(0, height=16, width=16).expand(2000, -1, -1, -1)
    run(clip, clip)
    state, _ = shown()
    assert state["comparison"]["point_frames"] == 8 and len(state["comparison"]["ssim_curve"]) == 250
    assert len(json.dumps(state)) < 20_000


def test_one_frame(shown):
    report, plot = run(grey(50), grey(60))
    assert "1 frame of" in report and plot.std() > 0 and shown()[0]["comparison"]["frames"] == 1


def test_labels_may_be_anything(shown):
    run(grey(1), grey(1), label_a=" \n", label_b="very " * 50 + "<b>long</b>")
    labels = shown()[0]["comparison"]["labels"]
    assert labels[0] == "A" and len(labels[1]) == 40


def test_bad_input(tmp_path, streams):
    with pytest.raises(DummyForcingError, match="there are no frames"):
        run(grey(1)[:0], grey(1))
    with pytest.raises(DummyForcingError, match="there are no frames"):
        run(grey(1), video_of(grey(1)[:0]))
    with pytest.raises(DummyForcingError, match="48 x 10 pixels; expected at least 11 x 11"):
        run(grey(1, height=10), grey(1))
    video = video_file(tmp_path / "a.mp4", grey(1))
    (tmp_path / "a.mp4").write_bytes(b"damaged")
    with pytest.raises(DummyForcingError, match="cannot read the video"):
        run(grey(1), video)
    assert made_in(streams) == []  # nothing to show
