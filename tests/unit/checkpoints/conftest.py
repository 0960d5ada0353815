"""Checkpoints to load, and the check that every refusal is one helpful line."""

import contextlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "weights.safetensors"
HEADS = {"config": '{"transformer": {"causal_ar": true, "num_heads": 4}}'}


@contextlib.contextmanager
def refusal(*words):
    """Expects a DummyForcingError of one line that has all the words."""
    with pytest.raises(DummyForcingError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert not [word for word in words if word not in message], message


@pytest.fixture(scope="session")
def refused():
    return refusal


@pytest.fixture(scope="session")
def golden_file() -> Path:
    """The golden backbone: 4 layers, 4 heads (in its metadata), width 128."""
    return GOLDEN


@pytest.fixture(scope="session")
def golden_state() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN)


@pytest.fixture(scope="session")
def tiny_vae() -> WanVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WanVAE(WanVAEShape(width=8)).eval().requires_grad_(False)


@pytest.fixture
def save(tmp_path):
    """Writes a state dict to a file in the test's folder; by default it says there are 4 heads."""

    def write(state, name="model.safetensors", metadata=HEADS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path, metadata)
        return path

    return write


@pytest.fixture
def vae_file(save, tiny_vae) -> Path:
    return save(tiny_vae.state_dict(), "decoder_of_sorts.safetensors", {})
