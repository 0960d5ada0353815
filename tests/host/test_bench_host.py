"""What `dummy-forcing bench --host` runs in ComfyUI's Python."""

from pathlib import Path

import pytest
import torch

from dummy_forcing.nodes.host import bench_host


@pytest.fixture
def clip():
    weights = Path(__file__).resolve().parents[1] / "data" / "weights.safetensors"
    return {
        "shape": {"heads": 4, "text_dim": 32},
        "weights": str(weights),
        "latent_size": [8, 12],
        "frames": 6,
        "chunk_frames": 3,
        "sigmas": [1.0, 0.5, 0.0],
        "device": "cpu",
        "dtype": "float32",
        "seed": 0,
    }


def test_core_samples_a_clip_of_the_bench(host, clip, monkeypatch):
    """All chunks, all passes: two denoising ones and a clean one for each of two chunks."""
    model = bench_host.load(clip)
    wan = model.model.diffusion_model
    passes = []
    forward = wan.forward
    monkeypatch.setattr(wan, "forward", lambda *args, **kw: passes.append(args[0].shape) or forward(*args, **kw))
    assert bench_host.make_clip(model, clip) > 0
    assert passes == [torch.Size([1, 16, 3, 8, 12])] * 6


def test_the_title_names_the_versions(host):
    assert bench_host.title().startswith("ComfyUI 0.") and torch.__version__ in bench_host.title()
