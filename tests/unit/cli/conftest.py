import sys
from pathlib import Path

import pytest
import torch
from backbones import backbone_fingerprint

from dummy_forcing.cli.main import main
from dummy_forcing.core.checkpoints.families.family import Family
from dummy_forcing.core.checkpoints.model import ARVideoModel
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

SHAPE = WanShape(dim=48, heads=4, layers=2, ffn_dim=64, text_dim=16, freq_dim=32)
FAMILY = Family("tiny", "Tiny", 3, (1000.0, 500.0), 5.0, 9, (32, 48), "none")


def nowhere(name: str) -> str:
    """A path in a place where nobody can make a folder, an administrator neither."""
    return str(Path("Q:/none" if sys.platform == "win32" else "/proc/none", name))


@pytest.fixture
def tiny_model() -> ARVideoModel:
    """A random model that understands toy-world prompts; 9 latent frames of 32 x 48 pixels by default."""
    return make_model(seed=0)


def make_model(seed: int, family: Family = FAMILY) -> ARVideoModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = CausalWan(SHAPE).eval().requires_grad_(False)
        vae = WanVAE(WanVAEShape(width=8)).eval().requires_grad_(False)
    fingerprint = backbone_fingerprint(backbone)
    return ARVideoModel(backbone, vae, family, fingerprint, torch.device("cpu"), torch.float32)


@pytest.fixture
def run(tiny_model, tmp_path, monkeypatch):
    """Runs the command line in an empty folder, with the tiny model for the toy world."""
    monkeypatch.chdir(tmp_path)
    return lambda *argv: main([str(each) for each in argv], opener=lambda choice: tiny_model)


@pytest.fixture
def fails(run, capsys, tmp_path):
    """Runs a command that must end with one line on stderr, exit code 2 and no trace in the folder."""

    def check(*argv) -> str:
        before = snapshot(tmp_path)
        assert run(*argv) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("dummy-forcing: error: ") and err.endswith("\n") and err.count("\n") == 1
        assert snapshot(tmp_path) == before
        return err

    return check


def snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
