"""The nodes that make videos and measure heads, on the toy world in the real ComfyUI."""

import av
import numpy as np
import pytest
import torch

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.heads.profile import HeadProfile
from dummy_forcing.core.media.video_file import VideoWriter
from dummy_forcing.core.stream.events import PassDone
from dummy_forcing.nodes.heads import head_profiles
from dummy_forcing.nodes.heads.profile_heads import ProfileDummyHeads
from dummy_forcing.nodes.live.live_view import LiveView
from dummy_forcing.nodes.patches.dummy_forcing_patch import DummyForcingPatch
from dummy_forcing.nodes.video.load_model import LoadARVideoModel
from dummy_forcing.nodes.video.model_info import ARModelInfoNode
from dummy_forcing.nodes.video.stream_video import StreamARVideo
from dummy_forcing.nodes.video.toy_world import ToyWorld

PROMPT = "a red circle moving right"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", dict(folder_paths.folder_names_and_paths))
    head_profiles.register_folder()


def execute(node, *args, **options):
    """Run a node as the host does: on a clone that has hidden inputs."""
    clone = node.PREPARE_CLASS_CLONE(None)
    return clone.execute(*args, **options)


@pytest.fixture
def toy(host):
    model = LoadARVideoModel.execute("toy world (built in)", "auto", "default").args[0]
    positive, vae, _ = ToyWorld.execute(PROMPT).args
    return model, positive, vae


def stream(toy, length=33, seed=1, model=None, **options):
    return execute(StreamARVideo, model or toy[0], *toy[1:], 0, 0, length, seed, **options)


def frames_of(video):
    with av.open(video.get_stream_source()) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_is_streamed_to_a_file_with_its_latents(toy):
    video, latent, report, *_ = stream(toy).args
    assert [frame.shape for frame in frames_of(video)] == [(96, 96, 3)] * 33
    assert latent["samples"].shape == (1, 16, 9, 12, 12)
    assert "33 frames" in report and "KV" in report


def test_streamed_frames_are_those_the_host_decodes_from_the_latents(toy):
    video, latent, *_ = stream(toy).args
    expected = toy[2].decode(latent["samples"]).reshape(33, 96, 96, 3)
    found = torch.tensor(frames_of(video)).float() / 255  # through H.264
    assert (found - expected).abs().mean() < 0.02


def test_the_video_is_that_of_the_command_line(toy):
    """Same seed, same prompt, same noise rule: ComfyUI and CLI make one video."""
    from dummy_forcing.core.memory_config import MemoryConfig
    from dummy_forcing.core.stream.events import ChunkDone
    from dummy_forcing.core.stream.loop import stream_video
    from dummy_forcing.core.stream.noise import SeededNoise
    from dummy_forcing.core.world.toy import open_toy_world
    from dummy_forcing.core.world.vocabulary import embed_prompt

    ours = open_toy_world()
    events = stream_video(
        ours.backbone, embed_prompt(PROMPT), ours.stream_config(9, MemoryConfig()), SeededNoise(1)
    )
    expected = torch.cat([event.latents for event in events if isinstance(event, ChunkDone)], dim=2)
    latent = stream(toy).args[1]["samples"]
    torch.testing.assert_close(toy[0].model.process_latent_in(latent), expected, atol=1e-4, rtol=0)


def test_a_patch_shrinks_the_reported_memory_and_names_the_roles(toy):
    patched = DummyForcingPatch.execute(toy[0], 0.5, 1).args[0]
    dense, forced = stream(toy, 81).args[2], stream(toy, 81, model=patched).args[2]
    assert "36 heads" in forced and "18 dummy" in forced and "heads" not in dense


@pytest.fixture
def shown(monkeypatch):
    """What progress bars send to the frontend: value, maximum and preview."""
    import comfy.utils

    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *report, node_id: seen.append(report))
    return seen


def test_progress_counts_chunks_times_passes(toy, shown):
    stream(toy, 33)
    values = [value for value, _, _ in shown]
    assert {maximum for _, maximum, _ in shown} == {3 * 5}
    assert values == sorted(set(values)) and values[-1] == 3 * 5


def test_previews_walk_through_the_chunk_decoded_last(toy, shown):
    video = frames_of(stream(toy, 33).args[0])
    previews = [preview[1] for _, _, preview in shown if preview is not None]
    assert len(previews) == 2 * 5  # the core's own, of the first chunk, are off by default
    for chunk, first in ((0, 0), (1, 9)):
        found = [np.asarray(image).astype(float) for image in previews[5 * chunk : 5 * chunk + 5]]
        length = 9 if chunk == 0 else 12
        expected = [video[first + length * index // 5].astype(float) for index in range(5)]
        assert max(abs(one - other).mean() for one, other in zip(found, expected, strict=True)) < 5  # through H.264
        assert abs(found[0] - found[-1]).mean() > 1


def test_every_chunk_is_encoded_before_the_next_begins(toy, monkeypatch):
    order, write, add = [], VideoWriter.write, LiveView.add

    def watched_write(self, frames):
        write(self, frames)
        order.append(self.frames_written)

    def watched_add(self, event):
        order.append(type(event).__name__)
        add(self, event)

    monkeypatch.setattr(VideoWriter, "write", watched_write)
    monkeypatch.setattr(LiveView, "add", watched_add)
    stream(toy, 33)
    assert order == [step for frames in (9, 21, 33) for step in (*["PassDone"] * 5, "ChunkDone", frames)]


def test_an_interrupt_keeps_the_finished_chunks(toy, host, monkeypatch):
    passes, add = [], LiveView.add

    def press_stop_in_chunk_2(self, event):
        add(self, event)
        passes.append(isinstance(event, PassDone))
        if sum(passes) == 2 * 5 + 2:
            host.interrupt_current_processing()

    monkeypatch.setattr(LiveView, "add", press_stop_in_chunk_2)
    video, latent, report, *_ = stream(toy, 81).args
    assert len(frames_of(video)) == 21 and latent["samples"].shape[2] == 6
    assert "21 frames" in report
    assert sum(passes) == 12
    monkeypatch.setattr(LiveView, "add", add)
    assert len(frames_of(stream(toy, 9).args[0])) == 9  # the next run is whole


def test_an_interrupt_before_the_first_chunk_leaves_nothing(toy, host, tmp_path):
    host.interrupt_current_processing()
    with pytest.raises(host.InterruptProcessingException):
        stream(toy)
    assert not list((tmp_path / "temp").rglob("*.mp4"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 30}, "use 21 or 33"),
        ({"length": 8}, "use 9 or 21"),
        ({"width": 100}, "no multiple of 16 pixels; use 96 or 112"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_remedy(toy, changes, message):
    sizes = {"width": 0, "height": 0, "length": 33, **changes}
    with pytest.raises(DummyForcingError, match=message):
        execute(StreamARVideo, *toy, **sizes, seed=0)


def test_a_vae_of_other_channels_is_refused(toy):
    toy[2].latent_channels = 4
    with pytest.raises(DummyForcingError, match=r"4 latent channels, the model 16.*Wan 2.1 VAE"):
        stream(toy)


def test_a_model_of_unknown_family_asks_for_it(golden_model, toy):
    with pytest.raises(DummyForcingError, match="Load AR Video Model"):
        execute(StreamARVideo, golden_model, *toy[1:], 0, 0, 33, 0)


def test_profiling_names_every_head_and_draws_it(toy):
    other = ToyWorld.execute("a blue square moving up").args[0]
    output = execute(ProfileDummyHeads, toy[0], {"positive_0": toy[1], "positive_1": other}, 0, 0, 3, 0, 0.25)
    profile, picture, report = output.args
    assert profile.samples.shape == (2, 2, 5, 6, 6, 3)
    assert (profile.roles == 2).sum() == 9
    assert picture.ndim == 4 and picture.shape[-1] == 3 and 0 <= picture.min() < picture.max() <= 1
    assert "9 dummy" in report and "layer 5" in report and "core-set" in report
    patched = DummyForcingPatch.execute(toy[0], 0.25, 1, profile=profile).args[0]
    assert "9 dummy" in stream(toy, model=patched).args[2]


def test_profiles_are_saved_and_loaded_by_name(toy, tmp_path):
    profile = execute(ProfileDummyHeads, toy[0], {"positive_0": toy[1]}, 0, 0, 2, 0, 0.5).args[0]
    execute(head_profiles.SaveHeadProfile, profile, "toy.heads")
    assert (tmp_path / "models/head_profiles/toy.heads.safetensors").is_file()
    loaded = head_profiles.LoadHeadProfile.execute("toy.heads.safetensors").args[0]
    assert isinstance(loaded, HeadProfile) and torch.equal(loaded.roles, profile.roles)


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/b", "", ".hidden", "c:evil", "x\0y"])
def test_profile_names_stay_in_their_folder(name, golden):
    with pytest.raises(DummyForcingError, match="no name for a head profile"):
        head_profiles._file_stem(name)


def test_a_profile_that_is_not_there(toy):
    with pytest.raises(DummyForcingError, match="Save Head Profile"):
        head_profiles.LoadHeadProfile.execute("nothing.safetensors")


def test_model_info_forecasts_what_the_stream_then_holds(toy):
    patched = DummyForcingPatch.execute(toy[0], 0.5, 1).args[0]
    (report,) = execute(ARModelInfoNode, patched, 0, 0, 81).args
    assert "Toy World" in report and "6 layers x 6 heads" in report and "dense" in report
    dense = 2 * 6 * 21 * 36 * 192 * 4  # k and v, layers, frames, tokens, width, fp32
    assert f"{dense / 2**20:.1f} MiB" in report


def test_model_info_says_at_most_only_where_heads_are_yet_to_be_measured(toy):
    patched = DummyForcingPatch.execute(toy[0], 0.5, 1).args[0]
    profile = execute(ProfileDummyHeads, toy[0], {"positive_0": toy[1]}, 0, 0, 2, 0, 0.5).args[0]
    known = DummyForcingPatch.execute(toy[0], 0.5, 1, profile=profile).args[0]
    measured, exact, dense = (execute(ARModelInfoNode, each, 0, 0, 81).args[0] for each in (patched, known, toy[0]))
    assert measured.count("at most") == 3 and "at most" not in exact + dense
