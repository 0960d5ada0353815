import json
from dataclasses import replace

import pytest

from dummy_forcing.cli.main import main
from dummy_forcing.core.media.video_file import read_video

from .conftest import FAMILY, make_model, nowhere, snapshot

FILES = {"dense.mp4", "dummy_forcing.mp4", "side_by_side.mp4", "heads.png", "report.json"}


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Runs the demo with a random model at the toy world's size."""
    monkeypatch.chdir(tmp_path)
    model = make_model(seed=0, family=replace(FAMILY, pixel_size=(96, 96)))
    return lambda *argv: main(["demo", *argv], opener=lambda choice: model)


def test_writes_everything(demo, tmp_path, capsys):
    assert demo("--latents", "9", "--output", "out", "--json", "-") == 0
    out, err = capsys.readouterr()
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    for name, width in (("dense", 96), ("dummy_forcing", 96), ("side_by_side", 2 * 3 * 96 + 3 * 8)):
        frames, fps = read_video(tmp_path / f"out/{name}.mp4")
        assert fps == 16 and len(frames) == 33 and frames.shape[2] == width
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert json.loads(out) == report
    check_report(report)
    for part in (
        "dense: chunk 3/3",
        "dummy forcing: chunk 3/3",
        "DiT FPS",
        "KV memory",
        "history a head reads",
        "ratio",
    ):
        assert part in err


def check_report(report):
    dense, forcing = report["policies"]["dense"], report["policies"]["dummy_forcing"]
    assert dense["heads"] is None and forcing["heads"]["counts"]["dummy"] == 4
    assert dense["psnr_to_dense"] is None and forcing["psnr_to_dense"] > 0
    assert forcing["kv_bytes"] < dense["kv_bytes"] == dense["kv_peak_bytes"]
    assert forcing["history_frames"] < dense["history_frames"] == 9
    for policy in (dense, forcing):
        assert 0 <= policy["score"]["total"] <= 1
        assert policy["seconds"] > policy["model_seconds"] > 0
    assert {"command", "date", "versions", "machine", "prompt", "seed"} <= report.keys()


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (["--latents", "6"], "use --latents 9"),
        (["--latents", "10"], "9 or 12"),
        (["--prompt", "a pink circle"], "'pink'"),
        (["--prompt", ""], "one or two objects"),
        (["--output", nowhere("demo")], nowhere("demo")),
        (["--output", "notes"], "notes"),
    ],
)
def test_bad_input(demo, tmp_path, capsys, argv, cause):
    (tmp_path / "notes").write_text("a file")
    before = snapshot(tmp_path)
    assert demo(*argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and cause in err
    assert snapshot(tmp_path) == before


def test_interrupt_leaves_nothing(tmp_path, monkeypatch, capsys):
    def hook(module, inputs):
        calls.append(1)
        if len(calls) > 7:
            raise KeyboardInterrupt

    calls: list[int] = []
    monkeypatch.chdir(tmp_path)
    model = make_model(seed=0, family=replace(FAMILY, pixel_size=(96, 96)))
    model.backbone.patch_embedding.register_forward_pre_hook(hook)
    assert main(["demo", "--latents", "9"], opener=lambda choice: model) == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == "dummy-forcing: interrupted\n"
