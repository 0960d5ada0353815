"""Stream AR Video with something to begin with, something to change, or prompts that follow."""

from fractions import Fraction

import av
import pytest
import torch
from odd_media import KINDS, STEP, turn, write_greys

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.nodes.heads import head_profiles
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.video.given_video import GivenVideo, read_given
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.prompt_schedule import ARPromptSchedule
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld
from dummy_forcing.nodes.video.video_plan import VideoPlan

PROMPT, LATER = "a red circle moving right", "a blue square moving left"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", dict(folder_paths.folder_names_and_paths))
    head_profiles.register_folder()


@pytest.fixture
def toy(host):
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    return model, *ToyWorld.execute(PROMPT).args[:2]


@pytest.fixture
def stream(toy):
    """A function that runs the node and returns its frames [T, H, W, 3] in [0, 1] and its latents."""

    def run(length=33, seed=1, model=None, **options):
        clone = StreamARVideo.PREPARE_CLASS_CLONE(None)
        video, latent, *_ = clone.execute(model or toy[0], *toy[1:], 96, 96, length, seed, **options).args
        with av.open(video.get_stream_source()) as container:
            frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        return torch.stack(frames).float() / 255, latent["samples"]

    return run


def test_a_start_image_is_the_first_frame(stream):
    frames, _ = stream(length=33)
    started, latents = stream(length=37, seed=2, start=frames[20:21])
    assert len(started) == 37 and latents.shape[2] == 10
    assert (started[0] - frames[20]).abs().mean() < 0.05  # through the small VAE and H.264
    assert (started[0] - frames[0]).abs().mean() > (started[0] - frames[20]).abs().mean()


@pytest.mark.parametrize("kind", ["image", "video", "latent"])
def test_a_video_goes_on_from_another(stream, toy, kind):
    clone = StreamARVideo.PREPARE_CLASS_CLONE(None)
    video, latent, *_ = clone.execute(*toy, 96, 96, 33, 1).args
    start = {"image": video.get_components().images, "video": video, "latent": latent}[kind]
    frames, latents = stream(length=57, seed=2, start=start)
    assert len(frames) == 57 and latents.shape[2] == 15
    assert (frames[:33] - video.get_components().images).abs().mean() < 0.05
    if kind == "latent":
        torch.testing.assert_close(latents[:, :, :9], latent["samples"], atol=1e-5, rtol=0)


def test_strength_says_how_much_of_a_source_is_left(stream):
    source, _ = stream(length=33)
    distance = []
    for strength in (0.3, 0.9375):
        changed, _ = stream(length=0, seed=2, source=source, strength=strength)
        assert len(changed) == 33
        distance.append((changed - source).abs().mean())
    assert distance[0] < distance[1] / 2


@pytest.mark.parametrize(("given", "made"), [(41, 33), (25, 21), (12, 9)])
def test_without_a_length_a_source_is_changed_in_its_whole_chunks(stream, given, made):
    assert len(stream(length=0, source=torch.rand(given, 96, 96, 3))[0]) == made


def test_a_source_is_as_long_as_what_the_video_begins_with_and_whole_chunks(stream):
    start = {"samples": torch.zeros(1, 16, 1, 12, 12)}
    assert len(stream(length=0, source=torch.rand(20, 96, 96, 3), start=start)[0]) == 13


def test_later_prompts_leave_what_came_before_as_it_is(stream):
    later = ToyWorld.execute(LATER).args[0]
    plan = ARPromptSchedule.execute({"prompt_0": later}, "chunk 3", "recache").args[0]
    frames, latents = stream(length=69, prompts=plan)
    unchanged, before = stream(length=69)
    assert torch.equal(latents[:, :, :9], before[:, :, :9])
    assert (frames[45:] - unchanged[45:]).abs().mean() > 0.005


@pytest.mark.parametrize("name", ["krea-realtime-14b", "causvid", "rolling-forcing", "causal-forcing-2step"])
def test_families_with_loops_of_their_own(stream, name):
    model = LoadARVideoModel.execute("toy world (built in)", name, "default").args[0]
    frames, latents = stream(length=93, model=model)
    assert len(frames) == 93 and latents.shape[2] == 24
    assert frames.std() > 0.05


@pytest.fixture
def report(toy):
    """A function that runs the node at strength 0.3 and length 0 and returns the report and the frames made."""

    def run(source, **options):
        clone = StreamARVideo.PREPARE_CLASS_CLONE(None)
        video, _, text, _ = clone.execute(*toy, 96, 96, 0, 1, source=source, strength=0.3, **options).args
        return text, video.get_components().images

    return run


def file_of(path, *options, **more):
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile(str(write_greys(path, *options, **more)))


def in_memory(frames, rate):
    from comfy_api.latest import InputImpl, Types

    images = torch.rand(frames, 32, 32, 3)
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=Fraction(rate)))


@pytest.mark.parametrize("kind", ["mp4", "transport stream", "raw h264"])
def test_a_source_of_another_rate_keeps_its_speed_and_what_is_lost_is_said(tmp_path, report, kind, caplog):
    caplog.set_level("INFO", "dummy_forcing")
    source = file_of(tmp_path / "a", 40, 30, KINDS[kind], sound=kind == "mp4")
    text, made = report(source)
    said = "the source: 40 frames at 30 a second were read as 21 at 16 a second, which keeps the speed; keep_frames"
    assert said in text and said in caplog.text and len(made) == 21
    assert ("the source: its sound is left out" in text) == (kind == "mp4")
    levels = read_given(source, "the source", False).frames[:, 16, 24, 0]
    assert [round(int(level) / STEP) for level in levels] == [int((index + 0.5) / 16 * 30) for index in range(21)]
    text, made = report(source, keep_frames=True)
    assert len(made) == 33 and "were read as" not in text and "7 frames at the end are left out" in text


def test_frames_in_memory_have_a_rate_too(report):
    text, made = report(in_memory(40, 30))
    assert len(made) == 21 and "40 frames at 30 a second were read as 21" in text
    text, made = report(in_memory(33, 16))
    assert len(made) == 33 and "the source" not in text


def test_a_turned_video_is_read_upright(tmp_path):
    video = file_of(tmp_path / "a", 9, size=(32, 48))
    turn(tmp_path / "a.mp4")
    assert read_given(video, "the source", False).frames.shape == (9, 48, 32, 3)


@pytest.mark.parametrize("name", ["start", "source"])
def test_nothing_in_what_was_given(tmp_path, stream, name):
    from comfy_api.latest import InputImpl

    path = str(write_greys(tmp_path / "a", 9))
    (tmp_path / "text.mp4").write_text("no video")
    for given, said in [
        (torch.zeros(0, 96, 96, 3), f"the {name}: there are no frames"),
        (in_memory(0, 16), f"the {name}: there are no frames"),
        ({"samples": torch.zeros(1, 16, 0, 12, 12)}, f"the {name} has the latent shape.*at least one frame"),
        (InputImpl.VideoFromFile(path, start_time=99), f"the {name}: the video .* holds no frames"),
        (InputImpl.VideoFromFile(str(tmp_path / "text.mp4")), f"the {name}: cannot read the video"),
    ]:
        with pytest.raises(DummyForcingError, match=said):
            stream(**{name: given})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 33, "start": torch.zeros(1, 96, 96, 3)}, "use 25 or 37"),
        ({"length": 37, "start": {"samples": torch.zeros(1, 16, 1, 4, 4)}}, "the start has the latent shape"),
        ({"length": 33, "start": {"samples": torch.zeros(1, 16, 4, 4)}}, "expected a video latent"),
        ({"length": 33, "source": torch.zeros(9, 96, 96, 3)}, "source has 9 frames, the video is to have 33.*of 9"),
        ({"length": 0, "source": torch.zeros(5, 96, 96, 3)}, "less than a chunk; give .* of at least 9 frames"),
        ({"length": 33, "refine": True}, "set a context noise"),
    ],
)
def test_bad_input(stream, options, message):
    with pytest.raises(DummyForcingError, match=message):
        stream(**options)


@pytest.mark.parametrize(
    ("times", "width", "message"),
    [
        ("99s", 16, "begins at '99s', but the video lasts 2.062 s"),
        ("2s, 1s", 16, "begins at '2s' and the next at '1s'; put the prompts in the order"),
        ("1s, 1.2s", 16, "would never be seen"),
        ("1s, 2s", 32, "the prompt at '1s' comes from another text encoder: its embedding is 32 wide"),
    ],
)
def test_a_schedule_is_checked_before_the_first_pass(stream, toy, monkeypatch, times, width, message):
    """By Stream AR Video and by the AR Streaming Sampler, patched or not."""
    from comfy.samplers import CFGGuider

    from dummy_forcing.core.stream import denoiser
    from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler

    monkeypatch.setattr(denoiser, "forward_chunk", None)  # no pass can run
    given = {f"prompt_{index}": [[torch.zeros(1, 8, width), {}]] for index in range(times.count(",") + 1)}
    plan = ARPromptSchedule.execute(given, times, "recache").args[0]
    with pytest.raises(DummyForcingError, match=message):
        stream(length=33, prompts=plan)
    for model in (toy[0], DummyForcingPatch.execute(toy[0], 0.5, 1).args[0]):
        guider = CFGGuider(model)
        guider.inner_set_conds({"positive": toy[1]})
        latent = torch.zeros(1, 16, 9, 12, 12)
        with pytest.raises(DummyForcingError, match=message):
            guider.sample(latent, latent, ARStreamingSampler(3, prompts=plan), torch.tensor([1.0, 0.5, 0.0]))


def test_only_what_is_used_of_a_source_is_encoded(toy):
    class Counting:
        def encode(self, frames):
            self.frames = len(frames)
            return toy[2].encode(frames)

    vae, plan = Counting(), VideoPlan(96, 96, 3, 3, (1.0, 0.0))
    latents = GivenVideo("the source", frames=torch.rand(81, 96, 96, 3)).to_latents(vae, plan, 16, 3)
    assert vae.frames == 9 and latents.shape == (1, 16, 3, 12, 12)
    whole = GivenVideo("the source", latents=torch.rand(1, 16, 7, 12, 12))
    assert torch.equal(whole.to_latents(vae, plan, 16, 3), whole.latents[:, :, :3])


def test_a_short_source_of_another_rate_is_counted_as_it_is(tmp_path, report):
    source = file_of(tmp_path / "a", 9, 25)
    with pytest.raises(DummyForcingError, match=r"9 frames at 25 a second, which are 6 at 16 a second, less than"):
        report(source)
    assert len(report(source, keep_frames=True)[1]) == 9


def test_a_source_is_read_as_far_as_it_is_used(tmp_path, stream):
    source = file_of(tmp_path / "a", 41)
    assert len(read_given(source, "the source", False, 9).frames) == 9
    assert len(stream(length=9, source=source, strength=0.3)[0]) == 9
    jump = file_of(tmp_path / "b", 12, seconds=lambda index: Fraction(index, 16) + (7200 if index > 5 else 0))
    with pytest.raises(DummyForcingError, match=r"the time stamps of the video have a gap .* with keep_frames"):
        read_given(jump, "the source", False)
