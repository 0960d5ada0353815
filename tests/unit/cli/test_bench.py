"""`dummy-forcing bench` as it is typed."""

import json
import sys

import pytest
from PIL import Image

from dummy_forcing.cli.main import main

from .conftest import nowhere

TINY = ("--shape", "custom", "--dim", "48", "--heads", "4", "--ffn", "64", "--layers", "1", "--latent-size", "4x4")


@pytest.mark.parametrize(
    ("argv", "cause", "remedy"),
    [
        (["lazy"], "'lazy'", "expected dense"),
        (["dense", "dense"], "named twice", "leave one out"),
        (["window:3"], "window of 3", "at least 6"),
        (["--lengths", "10"], "10 latent frames", "use 9 or 12"),
        (["--lengths", "0"], "--lengths", "above 0"),
        (["--clip", "--lengths", "9", "12"], "one length", "--clip"),
        (["--shape", "wan-2"], "wan-2", "choose from"),
        (["--shape", "custom", "--dim", "48"], "--heads, --ffn, --layers", "wan-1.3b"),
        (["--dim", "48"], "--dim", "--shape custom"),
        ([*TINY, "--heads", "5"], "5 heads", "width of 48"),
        (["--latent-size", "5x4"], "5x4", "60x104"),
        (["--resolution", "480p", "--latent-size", "4x4"], "--latent-size", "not allowed with"),
        (["--resolution", "360p"], "360p", "choose from"),
        (["--repeats", "0"], "--repeats", "above 0"),
        (["--decoder", "vae"], "vae", "choose from"),
        (["--decoder", "tae", "--no-decode"], "--no-decode", "not allowed with"),
        (["--skip-passes", "4"], "pass 4", "1 to 3"),
        (["--host", "here"], "--host", "--clip"),
        (["--clip", "--host", "here"], "no ComfyUI", "main.py"),
        (["--clip", "--peer", "here"], "no checkout", "csguoh/DummyForcing"),
        (["--plot", "a.jpg"], "a.jpg", ".png"),
        (["--plot", "a.png"], "several lengths", "--lengths"),
        (["--lengths", "3", "9", "--plot", "a.png", "--json", "a.png"], "two outputs", "own file name"),
        (["--json", nowhere("report.json")], nowhere("report.json"), "choose a folder"),
    ],
)
def test_bad_input(fails, argv, cause, remedy):
    said = fails("bench", *argv)
    assert cause in said and remedy in said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/meminfo")
def test_what_does_not_fit_is_refused_at_once(run, capsys):
    assert (
        run("bench", "--shape", "wan-14b", "--resolution", "1080p", "--dtype", "float32", "--lengths", "3000") == 2
    )
    said = capsys.readouterr().err
    assert "GiB" in said and "--layers" in said


def test_the_authors_code_needs_cuda(fails, tmp_path_factory):
    checkout = tmp_path_factory.mktemp("peer")
    (checkout / "wan" / "modules").mkdir(parents=True)
    (checkout / "wan" / "modules" / "dummyforcing.py").touch()
    assert "needs CUDA and flash-attn" in fails("bench", "--clip", "--device", "cpu", "--peer", checkout)


def test_a_program_that_ends_is_named_with_what_it_said(tmp_path_factory):
    """A folder that looks like ComfyUI and is empty."""
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "main.py").touch()
    argv = (*TINY, "dense", "--clip", "--lengths", "3", "--no-decode", "--warm-up", "0")
    assert run_stderr(argv, folder).endswith("No module named 'comfy'\n")


def run_stderr(argv, folder):
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        assert main(["bench", *argv, "--host", str(folder)]) == 2
    return said.getvalue()


def test_report_picture_and_tables(run, capsys, tmp_path):
    assert (
        run(
            "bench", "dense", "dummy-forcing:0.5", *TINY, "--lengths", "3", "9", "--repeats", "1",
            "--json", "b.json", "--plot", "b.png", "--no-decode",
        )
        == 0
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert err == "" and "faster than dense" in out and "random weights" in out and "wrote b.png" in out
    report = json.loads((tmp_path / "b.json").read_text())
    assert {"command", "date", "versions", "machine", "load_average", "setting", "rows"} <= set(report)
    assert report["setting"]["history"].startswith("random")
    assert [(row["policy"], row["latent_frames"]) for row in report["rows"]] == [
        ("dense", 3), ("dummy-forcing:0.5", 3), ("dense", 9), ("dummy-forcing:0.5", 9),
    ]  # fmt: skip
    assert Image.open(tmp_path / "b.png").format == "PNG"


@pytest.mark.parametrize(("name", "width"), [("lightvae", 24), ("tae", 64)])
def test_a_light_decoder_is_measured_in_the_vae_s_place(run, capsys, name, width):
    argv = [*TINY, "--lengths", "3", "--repeats", "1", "--warm-up", "0", "--json", "-", "--decoder", name]
    assert run("bench", "dense", *argv) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["setting"]["decoder"], report["setting"]["vae_width"]) == (name, width)
    assert report["rows"][0]["decode_fps"] > 0


def test_json_alone_on_stdout(run, capsys):
    assert run("bench", "dense", *TINY, "--lengths", "3", "--repeats", "1", "--warm-up", "0", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"][0]["decode_fps"] > 0 and report["setting"]["repeats"] == 1


def test_toy_from_end_to_end(run, capsys):
    assert (
        run("bench", "dense", "dummy-forcing", "--clip", "--lengths", "9", "--repeats", "1", "--warm-up", "0") == 0
    )
    assert "head classification took" in capsys.readouterr().out
