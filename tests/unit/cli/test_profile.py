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
