"""Tests inside the real ComfyUI: its modules on `sys.path`, on the CPU, with tiny models of every kind we need.

They run in ComfyUI's own Python (`make test-host`). In any other Python this folder has nothing to collect.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from shared_fixtures import no_gc, one_thread, residuals  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
TOY = ROOT / "core" / "world" / "weights"
COMFYUI = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "ComfyUI").expanduser().resolve()

# What the authors' weights lack: without it ComfyUI takes a causal model for a bidirectional one.
GOLDEN_CONFIG = {"transformer": {"causal_ar": True, "num_heads": 4, "text_dim": 32}}

# Packages of ComfyUI that neither the pack nor its tests ask for: together they tell its Python from ours.
OF_COMFYUI = ("aiohttp", "torchsde", "transformers")


def missing() -> str | None:
    """Why the tests of this folder cannot run here, if they cannot."""
    if not (COMFYUI / "main.py").is_file():
        return f"no ComfyUI at {COMFYUI}"
    lacking = [name for name in OF_COMFYUI if importlib.util.find_spec(name) is None]
    return f"this Python is not ComfyUI's, it lacks {', '.join(lacking)}; use make test-host" if lacking else None


def enter_comfyui() -> None:
    """Make `comfy`, `nodes`, `execution` importable, for the CPU.

    Our root must not be on `sys.path` (`python -m pytest` puts it there): its `nodes` would hide ComfyUI's.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(COMFYUI))
    from comfy.cli_args import args

    args.cpu = True  # ComfyUI looks for a GPU when its other modules are imported


MISSING = missing()
collect_ignore_glob = ["*"] if MISSING else []
if not MISSING:
    enter_comfyui()


def pytest_report_header() -> str:
    return f"ComfyUI: {COMFYUI}" if not MISSING else f"host tests not collected: {MISSING}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("host")


@pytest.fixture(autouse=True)
def inference_mode():
    """ComfyUI runs every node under it."""
    with torch.inference_mode():
        yield


@pytest.fixture
def host():
    """Leaves ComfyUI without loaded models and without a pending interrupt."""
    import comfy.model_management as management

    yield management
    management.unload_all_models()
    management.cleanup_models()
    management.interrupt_current_processing(False)


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """ComfyUI's folder."""
    return COMFYUI


@pytest.fixture
def golden():
    """A function that reads a run of the authors' code: its tensors by name, and its settings."""
    return lambda name: read(DATA / f"{name}.safetensors")[0]


@pytest.fixture
def golden_model(host):
    """The random 4-layer, 4-head causal Wan of `tests/data`, as ComfyUI loads it: a `ModelPatcher` in fp32."""
    tensors, _ = read(DATA / "weights.safetensors")
    return load_model(tensors, {"config": json.dumps(GOLDEN_CONFIG)})


@pytest.fixture
def toy_model(host):
    """The toy world's backbone as ComfyUI loads it: a `ModelPatcher` in fp32."""
    return load_model(*read(TOY / "toy_backbone.safetensors"))


@pytest.fixture
def toy_vae(host):
    """The toy world's VAE as ComfyUI loads it, in fp32."""
    from comfy.sd import VAE

    tensors, metadata = read(TOY / "toy_vae.safetensors")
    return VAE(sd=tensors, metadata=metadata, dtype=torch.float32)


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    import comfy.utils

    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    return tensors, metadata or {}


def load_model(tensors: dict[str, torch.Tensor], metadata: dict[str, str]):
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(tensors, {"dtype": torch.float32}, metadata=metadata)


@pytest.fixture
def model_folders(tmp_path, monkeypatch):
    """ComfyUI's model folders, empty ones of this test."""
    import folder_paths

    endings = folder_paths.supported_pt_extensions
    names = ("diffusion_models", "checkpoints", "loras", "vae", "vae_approx")
    known = {name: ([str(tmp_path / name)], endings) for name in names}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folder_paths.folder_names_and_paths | known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    for name in known:
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def core_sampler():
    """A function that makes ComfyUI's own AR sampler."""
    import comfy.samplers

    return lambda chunk=3: comfy.samplers.ksampler("ar_video", {"num_frame_per_block": chunk})


@pytest.fixture
def our_sampler():
    """A function that makes ours, with core's noise."""
    from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler

    return lambda chunk=3: ARStreamingSampler(chunk, "ComfyUI")


@pytest.fixture
def sample(golden):
    """A function that samples latents of the golden model under one of core's guiders."""
    import comfy.sample
    import comfy.samplers

    context = golden("dense")["context"]

    def run(
        model, sampler, frames=21, size=(8, 12), batch=1, cfg=1.0, latent=None, truncate=0, negative=0.5, **options
    ):
        """`truncate` > 0 takes the last so many of 8 steps: video to video."""
        latent = torch.zeros(batch, 16, frames, *size) if latent is None else latent
        levels = model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(levels, "simple", 8 if truncate else 4)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds([[context, {}]], [[negative * context, {}]])
        guider.set_cfg(cfg)
        noise = comfy.sample.prepare_noise(latent, 3)
        return guider.sample(noise, latent, sampler, sigmas[-truncate:], disable_pbar=True, seed=3, **options)

    return run
