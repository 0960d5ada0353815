"""What scripts read from `--json` is as it was: same keys, same values, for a report of each kind of memory."""

import json
from pathlib import Path

import pytest

REPORTS = json.loads(Path(__file__).parents[2].joinpath("data", "reports.json").read_text("utf-8"))
"""Reports by the options that were typed, written before methods declared themselves."""

OF_THE_RUN = ("date", "versions", "machine", "seconds", "model_seconds", "dit_fps", "end_to_end_fps")


@pytest.mark.parametrize("options", REPORTS)
def test_a_report(run, capsys, options):
    assert run(*options.split()) == 0
    report = json.loads(capsys.readouterr().out)
    assert all(report.pop(name) for name in OF_THE_RUN)
    assert report == REPORTS[options]
