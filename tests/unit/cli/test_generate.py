import json
from itertools import count

import pytest
import torch

from dummy_forcing.core.heads.profile import HeadProfile
from dummy_forcing.core.heads.programming import program_heads
from dummy_forcing.core.media.video_file import read_video

from .conftest import snapshot


@pytest.mark.parametrize("name", ["video.mp4", "new/folder/video.gif"])
def test_writes_a_video(run, tmp_path, capsys, name):
    assert run("generate", "--output", name, "--prompt", "a red circle moving up") == 0
    frames, fps = read_video(tmp_path / name)
    assert frames.shape == (33, 32, 48, 3)
    assert float(fps) == pytest.approx(16, rel=0.01)
    assert snapshot(tmp_path / name).keys() == set()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    out, err = capsys.readouterr()
    assert err == "" and "chunk 3/3" in out and f"wrote {name}" in out and "8 heads" in out


def test_same_seed_same_video(run, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert run("generate", "--output", f"{name}.gif", "--latents", 3, "--seed", seed) == 0
    a, b, c = ((tmp_path / f"{name}.gif").read_bytes() for name in "abc")
    assert a == b != c


def test_size_and_seconds(run, tmp_path):
    assert run("generate", "--output", "a.gif", "--seconds", 0.7, "--size", "48x32", "--policy", "dense") == 0
    assert read_video(tmp_path / "a.gif")[0].shape == (21, 48, 32, 3)


def test_says_that_heads_were_not_measured(run, capsys):
    """A video that ends before its classification chunk is dense, whatever the policy."""
    for options, said in (["--classification-chunk", 9], True), ([], False), (["--policy", "dense"], False):
        assert run("generate", "--output", "a.gif", *options) == 0
        assert ("heads were not measured, so that all of them kept everything" in capsys.readouterr().out) is said


@pytest.mark.parametrize(
    ("options", "keep"),
    [
        (["--policy", "dense"], {"method": "dense"}),
        (["--policy", "window", "--window", "6"], {"method": "window", "sink": 3, "size": 6}),
        (["--dummy-ratio", "0.25", "--local-context", "all"], {"dummy_ratio": 0.25, "local_context": None}),
        (["--cost", "paper", "--packed-frames", "0"], {"cost": "paper", "packed_frames": 0}),
    ],
)
def test_report_says_what_was_done(run, capsys, options, keep):
    assert run("generate", "--output", "a.gif", "--seed", 3, "--json", "-", *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert keep.items() <= report["memory"]["keep"].items()
    assert (report["latent_frames"], report["pixel_frames"], report["chunks"]) == (9, 33, 3)
    assert report["dit_fps"] == pytest.approx(33 / report["model_seconds"])
    assert report["end_to_end_fps"] == pytest.approx(33 / report["seconds"])
    assert report["seconds"] > report["model_seconds"] > 0
    assert report["kv_peak_bytes"] >= report["kv_bytes"] > 0
    assert (report["heads"] is None) == ("--policy" in options)
    assert report["command"].startswith("dummy-forcing generate --output a.gif --seed 3")
    assert {"torch", "python"} <= report["versions"].keys()


@pytest.mark.parametrize(("steps", "sigmas"), [(1, [1, 0]), (2, [1, 5 / 6, 0]), (4, [1, 15 / 16, 5 / 6, 5 / 8, 0])])
def test_steps(run, tiny_model, capsys, steps, sigmas):
    calls = []
    tiny_model.backbone.patch_embedding.register_forward_pre_hook(lambda module, inputs: calls.append(1))
    assert run("generate", "--output", "a.gif", "--latents", 6, "--steps", steps, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["sigmas"] == pytest.approx(sigmas)
    assert len(calls) == 2 * (steps + 1)  # two chunks, and the clean pass


def test_dense_memory_is_exact(run, capsys):
    run("generate", "--output", "a.gif", "--policy", "dense", "--json", "-")
    tokens, dim, layers = 2 * 3, 48, 2
    report = json.loads(capsys.readouterr().out)
    assert report["kv_bytes"] == 2 * layers * 9 * tokens * dim * 4
    assert report["history_frames"] == 9


def test_json_file(run, tmp_path, capsys):
    assert run("generate", "--output", "a.gif", "--latents", 3, "--json", "reports/a.json") == 0
    assert json.loads((tmp_path / "reports/a.json").read_text())["seed"] == 0
    assert "wrote a.gif" in capsys.readouterr().out


def test_profile_round_trip(run, tmp_path, tiny_model, capsys):
    """Classified online, saved, used: the same video, because the roles are the same."""
    options = ("generate", "--latents", 12, "--dummy-ratio", 0.25)
    assert run(*options, "--output", "online.gif", "--save-profile", "heads/online.safetensors") == 0
    saved = HeadProfile.load(tmp_path / "heads/online.safetensors", tiny_model.fingerprint, (2, 4))
    assert saved.method["dummy_ratio"] == 0.25 and saved.seeds == (0,) and saved.latent_size == (4, 6)
    assert saved.roles.equal(program_heads(saved.masses, 0.25))
    capsys.readouterr()
    assert run("generate", "--latents", 12, "--output", "offline.gif", "--profile", "heads/online.safetensors",
               "--json", "-") == 0  # fmt: skip
    assert (tmp_path / "online.gif").read_bytes() == (tmp_path / "offline.gif").read_bytes()
    assert json.loads(capsys.readouterr().out)["heads"]["roles"] == saved.roles.tolist()


def test_profile_is_programmed_anew_for_another_ratio(run, tmp_path, capsys):
    run("generate", "--output", "a.gif", "--save-profile", "heads.safetensors")
    capsys.readouterr()
    run("generate", "--output", "b.gif", "--profile", "heads.safetensors", "--dummy-ratio", 1, "--json", "-")
    report = json.loads(capsys.readouterr().out)
    assert report["heads"]["counts"] == {"sink": 0, "neighbor": 0, "dummy": 8}
    assert report["memory"]["keep"]["dummy_ratio"] == 1


def test_profile_of_another_model(run, fails, tmp_path, tiny_model, capsys):
    HeadProfile(
        fingerprint="0123456789abcdef",
        shape={},
        prompts=(),
        seeds=(),
        latent_size=(4, 6),
        method={},
        masses=torch.full((2, 4, 3), 1 / 3),
        roles=torch.zeros(2, 4, dtype=torch.int64),
    ).save(tmp_path / "other.safetensors")
    message = fails("generate", "--profile", "other.safetensors")
    assert "0123456789abcdef" in message and "profile again" in message


def interrupt_at(model, call: int) -> None:
    """Ctrl-C in the given call of the backbone, from 1."""
    calls = count(1)

    def hook(module, inputs):
        if next(calls) == call:
            raise KeyboardInterrupt

    model.backbone.patch_embedding.register_forward_pre_hook(hook)


def test_interrupt_keeps_finished_chunks(run, tmp_path, tiny_model, capsys):
    interrupt_at(tiny_model, 8)  # three passes a chunk
    assert run("generate", "--output", "a.gif", "--json", "a.json") == 130
    assert len(read_video(tmp_path / "a.gif")[0]) == 21
    assert list(tmp_path.iterdir()) == [tmp_path / "a.gif"]
    assert capsys.readouterr().err == "dummy-forcing: interrupted; kept the 21 frames finished so far in a.gif\n"


def test_interrupt_in_the_first_chunk_leaves_nothing(run, tmp_path, tiny_model, capsys):
    interrupt_at(tiny_model, 2)
    assert run("generate", "--output", "a.gif") == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == "dummy-forcing: interrupted\n"


@pytest.mark.parametrize("name", ["a.gif", "new/folder/a.gif"])
def test_failure_half_way_leaves_nothing(run, tmp_path, tiny_model, name):
    def hook(module, inputs):
        raise torch.OutOfMemoryError("out of memory")

    tiny_model.vae.conv2.register_forward_pre_hook(hook)
    assert run("generate", "--output", name) == 2
    assert list(tmp_path.iterdir()) == []
