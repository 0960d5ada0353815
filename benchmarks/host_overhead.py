"""Our forward inside ComfyUI against ComfyUI's own: `<ComfyUI's python> benchmarks/host_overhead.py`.

One random causal Wan model, the same seed, the same video, every head dense. Three ways to make it: ComfyUI's own
AR sampler on the model as it is; the same sampler with our forward patched in; our sampler. They take turns, so
that whatever else the machine does hits all of them; what counts is the ratio of the medians. Writes
benchmarks/results/host_overhead.json.

COMFYUI_PATH says where ComfyUI is, by default ~/ComfyUI.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import sys
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
COMFYUI = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "ComfyUI").expanduser()
CHUNK = 3
SIGMAS = (1.0, 0.8, 0.0)
TEXT_TOKENS = 512
SAMENESS = 1e-3  # of latents that have a spread of about 1


def enter_comfyui() -> None:
    """Make ComfyUI's modules and this checkout importable; neither is installed in the other's Python."""
    sys.path[0] = str(COMFYUI)
    from comfy.cli_args import args

    args.cpu = True
    spec = importlib.util.spec_from_file_location(
        "dummy_forcing", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    sys.modules["dummy_forcing"] = importlib.util.module_from_spec(spec)


def random_model(options: argparse.Namespace):
    """A causal Wan model of the asked size, as ComfyUI loads it, in fp32."""
    import comfy.sd

    from dummy_forcing.core.wan.container import CausalWan
    from dummy_forcing.core.wan.shape import WanShape

    torch.manual_seed(0)
    shape = WanShape(dim=options.dim, heads=options.heads, layers=options.layers, ffn_dim=options.ffn_dim)
    config = {"transformer": {"causal_ar": True, "num_heads": options.heads}}
    return comfy.sd.load_diffusion_model_state_dict(
        CausalWan(shape).state_dict(), {"dtype": torch.float32}, metadata={"config": json.dumps(config)}
    )


def contenders(model) -> dict[str, tuple]:
    """A model and a sampler by name; the first is what the others are measured against."""
    import comfy.samplers

    from dummy_forcing.core.memory_config import MemoryConfig
    from dummy_forcing.nodes.host.patching import with_memory
    from dummy_forcing.nodes.video.ar_sampler import ARStreamingSampler

    core = comfy.samplers.ksampler("ar_video", {"num_frame_per_block": CHUNK})
    return {
        "ComfyUI": (model, core),
        "our forward, ComfyUI's sampler": (with_memory(model, MemoryConfig()), core),
        "our forward and sampler": (model, ARStreamingSampler(CHUNK, "ComfyUI")),
    }


def sample(model, sampler, options: argparse.Namespace) -> tuple[Tensor, float]:
    """Latents and the seconds they took, loading included: after the first time there is nothing to load."""
    import comfy.samplers

    context = torch.randn(1, TEXT_TOKENS, 4096, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(
        1, 16, options.frames, options.height, options.width, generator=torch.Generator().manual_seed(2)
    )
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds([[context, {}]], [[context, {}]])
    guider.set_cfg(1.0)
    started = time.perf_counter()
    latents = guider.sample(
        noise, torch.zeros_like(noise), sampler, torch.tensor(SIGMAS), seed=3, disable_pbar=True
    )
    return latents, time.perf_counter() - started


@torch.inference_mode()
def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every repeat by contender; the first round warms up and proves that the videos are equal."""
    runs = contenders(random_model(options))
    first = {name: sample(*run, options)[0] for name, run in runs.items()}
    for name, latents in first.items():
        difference = float((latents - first["ComfyUI"]).abs().max())
        if not difference < SAMENESS:
            raise SystemExit(f"{name}: latents differ by {difference}")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, run in runs.items():
            seconds[name].append(sample(*run, options)[1])
    return seconds


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"dim": 768, "heads": 12, "layers": 6, "ffn-dim": 4480}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in {"height": 16, "width": 28, "frames": 9, "repeats": 5, "threads": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load_before = os.getloadavg()[0]
    enter_comfyui()
    seconds = measure(options)
    baseline = median(seconds["ComfyUI"])
    rows = [
        {"case": name, "median_seconds": median(times), "to_comfyui": median(times) / baseline, "seconds": times}
        for name, times in seconds.items()
    ]
    for row in rows:
        print(f"{row['case']:32} {row['median_seconds']:7.2f} s {row['to_comfyui']:6.3f} x")
    import comfyui_version

    setting = {
        "command": " ".join(["python", "benchmarks/host_overhead.py", *sys.argv[1:]]),
        **vars(options),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, load {load_before:.1f} before",
        "torch": torch.__version__,
        "comfyui": comfyui_version.__version__,
        "date": datetime.date.today().isoformat(),
    }
    results = json.dumps({"setting": setting, "rows": rows}, indent=1)
    (ROOT / "benchmarks/results/host_overhead.json").write_text(results + "\n")


if __name__ == "__main__":
    main()
