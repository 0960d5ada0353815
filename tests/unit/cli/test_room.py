"""Videos that cannot fit: refused within seconds, with nothing allocated."""

import re
import subprocess
import sys

import pytest
import torch

from dummy_forcing.core.free_memory import free_bytes

resource = pytest.importorskip("resource")


@pytest.mark.skipif(free_bytes(torch.device("cpu")) is None, reason="this machine does not tell what is free")
@pytest.mark.parametrize(
    "argv",
    [
        ["generate", "--size", "8192x8192"],
        ["generate", "--latents", "3000000", "--policy", "dense"],
        ["profile", "--size", "65536x65536"],
        ["demo", "--latents", "3000000"],
    ],
    ids=" ".join,
)
def test_what_takes_a_machine_down_is_refused_at_once(tmp_path, argv):
    done = subprocess.run(
        [sys.executable, "-m", "dummy_forcing", *argv], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert re.search(
        r"this video needs [\d.]+ [GT]iB of memory .* and the computer has .*; use at most --", done.stderr
    )
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1.5 * 2**20  # KiB: what importing torch takes


def test_the_size_that_is_advised_is_accepted(run, capsys, monkeypatch):
    from dummy_forcing.cli import models

    free = 2**20
    monkeypatch.setattr(models, "free_bytes", lambda device: free)
    assert run("generate", "--size", "160x320", "--output", "a.gif") == 2
    size = re.search(r"use at most --size (\d+x\d+)", capsys.readouterr().err)
    assert size is not None
    assert run("generate", "--size", size[1], "--output", "a.gif") == 0
