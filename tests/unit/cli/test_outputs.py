import json

import pytest

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
