import json

from PIL import Image

from dummy_forcing.core.heads.profile import HeadProfile
from dummy_forcing.core.heads.programming import program_heads

RED, BLUE = "a red circle moving up", "a blue square moving left"


def test_measures_and_writes(run, tmp_path, tiny_model, capsys):
    argv = ["profile", "--prompt", RED, "--prompt", BLUE, "--seeds", 2, "--dummy-ratio", 0.25]
    argv += ["--output", "out/heads.safetensors", "--picture", "out/heads.png", "--json", "-"]
    assert run(*argv) == 0
    out, err = capsys.readouterr()
    found = HeadProfile.load(tmp_path / "out/heads.safetensors", tiny_model.fingerprint, (2, 4))
    assert found.prompts == (RED, BLUE) and found.seeds == (0, 1)
    assert found.samples.shape == (4, 2, 3, 2, 4, 3)
    assert found.masses.equal(found.samples[:, :, -1].mean(dim=(0, 1)))
    assert found.roles.equal(program_heads(found.masses, 0.25))
    assert Image.open(tmp_path / "out/heads.png").format == "PNG"
    report = json.loads(out)
    assert report["heads"]["counts"]["dummy"] == 2
    assert report["core_set_ratios"].keys() == {"prompts", "chunks", "timesteps"}
    assert len(report["videos"]) == 4
    assert "prompt 2/2, seed 1: chunk 3/3" in err and "neighbor" in err and "core-set" in err


def test_an_axis_of_one_says_nothing(run, capsys):
    assert run("profile", "--prompt", RED, "--latents", 6, "--json", "-") == 0
    ratios = json.loads(capsys.readouterr().out)["core_set_ratios"]
    assert ratios["prompts"] is None and ratios["chunks"] is None and ratios["timesteps"] is not None


def test_steps(run, tmp_path, capsys):
    assert run("profile", "--prompt", RED, "--latents", 6, "--steps", 1, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["method"]["sigmas"] == [1, 0]
    assert HeadProfile.load(tmp_path / "heads.safetensors").samples.shape[2] == 2  # and the clean pass


def test_profile_drives_generate(run, tmp_path, capsys):
    assert run("profile", "--prompt", RED) == 0
    out = capsys.readouterr().out
    assert "wrote heads.safetensors: 8 heads" in out and "all" in out
    assert run("generate", "--latents", 6, "--output", "a.gif", "--profile", "heads.safetensors") == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.gif", "heads.safetensors"]


def test_needs_no_vae(tiny_model, tmp_path, monkeypatch):
    from dataclasses import replace

    from dummy_forcing.cli.main import main

    monkeypatch.chdir(tmp_path)
    blind = replace(tiny_model, vae=None)
    assert main(["profile", "--prompt", RED, "--latents", "6"], opener=lambda choice: blind) == 0
    assert main(["generate"], opener=lambda choice: blind) == 2


def test_interrupt_leaves_nothing(run, tmp_path, tiny_model):
    def hook(module, inputs):
        raise KeyboardInterrupt

    tiny_model.backbone.head.head.register_forward_pre_hook(hook)
    assert run("profile") == 130
    assert list(tmp_path.iterdir()) == []


def test_forced_roles_are_in_the_profile_and_hold_when_it_is_used(run, tmp_path, capsys):
    force = "1:3=sink, 0:0=dummy"
    assert run("profile", "--prompt", RED, "--latents", 6, "--dummy-ratio", 0.25, "--force-roles", force) == 0
    found = HeadProfile.load(tmp_path / "heads.safetensors")
    assert found.method["forced_roles"] == "0:0=dummy, 1:3=sink"
    assert found.method["chunk_frames"] == 3 and found.method["text_tokens"] > 0
    assert (found.roles[1, 3], found.roles[0, 0]) == (0, 2) and (found.roles == 2).sum() == 2
    capsys.readouterr()
    options = ("generate", "--output", "a.gif", "--profile", "heads.safetensors", "--dummy-ratio", 0.5)
    assert run(*options, "--force-roles", "1:3=neighbor", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    roles = report["heads"]["roles"]
    assert (roles[1][3], roles[0][0]) == (1, 2) and report["heads"]["counts"]["dummy"] == 4
    assert report["memory"]["keep"]["forced_roles"] == [[0, 0, 2], [1, 3, 1]]


def test_forced_roles_that_cannot_be(fails):
    for command in ("profile", "generate"):
        assert "for example '3:5=sink, 10:2=dummy'" in fails(command, "--force-roles", "5=sink")
        assert "the model has 2 layers x 4 heads" in fails(command, "--force-roles", "2:0=sink")
