import json

import pytest
from PIL import Image

from dummy_forcing.cli import generate, profile
from dummy_forcing.cli.arguments import build_parser
from dummy_forcing.cli.outputs import check_outputs, staged_folder
from dummy_forcing.cli.report import write_report
from dummy_forcing.core.errors import DummyForcingError


def test_check_leaves_nothing(tmp_path):
    (tmp_path / "old.json").write_text("old")
    check_outputs([tmp_path / "a/b/c.json", tmp_path / "old.json"])
    assert list(tmp_path.iterdir()) == [tmp_path / "old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_outputs_must_differ(tmp_path):
    with pytest.raises(DummyForcingError, match="two outputs"):
        check_outputs([tmp_path / "a.json", tmp_path / "x/../a.json"])


@pytest.mark.parametrize("option", ["--source", "--extend", "--image", "--prompts"])
def test_a_file_that_is_read_is_never_written(fails, tmp_path, option):
    Image.new("RGB", (48, 32)).save(tmp_path / "own.gif")
    (tmp_path / "link.gif").hardlink_to(tmp_path / "own.gif")
    name = "own.gif"
    if option == "--prompts":
        (tmp_path / "own.gif").write_text("chunk 1: a blue square moving left")
    for written in (name, "x/../own.gif", "link.gif"):
        said = fails("generate", option, name, "--output", written)
        assert f"{written} is the file of {option} (own.gif) itself; give the new file another name" in said
    if option == "--source":
        said = fails("generate", option, name, "--output", "other.gif", "--json", name)
        assert f"own.gif is the file of {option} (own.gif) itself" in said


def test_models_embeddings_and_profiles_are_never_written(tmp_path):
    for command, option, output in (
        ("generate", "--profile", "--save-profile"),
        ("generate", "--lora", "--json"),
        ("generate", "--model", "--json"),
        ("generate", "--vae", "--json"),
        ("generate", "--embedding", "--save-profile"),
        ("profile", "--embedding", "--output"),
        ("profile", "--model", "--output"),
    ):
        args = build_parser().parse_args([command, option, "a.safetensors", output, "a.safetensors"])
        check = generate if command == "generate" else profile
        with pytest.raises(DummyForcingError, match=rf"a\.safetensors is the file of {option} .* itself; give"):
            check._check_outputs(args)


def test_stage_moves_everything_or_nothing(tmp_path):
    target = tmp_path / "deep/demo"
    with pytest.raises(KeyboardInterrupt), staged_folder(target) as stage:
        (stage / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with staged_folder(target) as stage:
        (stage / "a.txt").write_text("whole")
        assert not (target / "a.txt").exists()
    assert [path.name for path in target.iterdir()] == ["a.txt"]


def test_json_has_no_infinity(tmp_path):
    write_report(tmp_path / "a.json", {"psnr": float("inf"), "list": [float("nan"), 1.5], "pair": (1, "a")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"psnr": None, "list": [None, 1.5], "pair": [1, "a"]}
