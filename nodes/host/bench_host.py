"""`dummy-forcing bench --host`: core ComfyUI's own AR sampler on the bench's weights; run in ComfyUI's Python.

Not imported by the node pack: `core/bench/workers.py` starts it with the folder of ComfyUI and says
how the two talk.
"""

from __future__ import annotations

import json
import os
import sys
import time

import torch

TEXT_TOKENS = 512


def answers():
    """The real stdout; whatever else prints there goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def enter_comfyui(folder: str, cpu: bool) -> None:
    """Make ComfyUI's modules importable; ours are not needed."""
    sys.path.insert(0, folder)
    from comfy.cli_args import args

    args.cpu = cpu


def title() -> str:
    """What is measured here."""
    from comfyui_version import __version__

    return f"ComfyUI {__version__}, torch {torch.__version__}"


def load(clip: dict):
    """The model as ComfyUI loads it."""
    import comfy.sd
    import comfy.utils

    config = {"causal_ar": True, "num_heads": clip["shape"]["heads"], "text_dim": clip["shape"]["text_dim"]}
    return comfy.sd.load_diffusion_model_state_dict(
        comfy.utils.load_torch_file(clip["weights"]),
        {"dtype": getattr(torch, clip["dtype"])},
        metadata={"config": json.dumps({"transformer": config})},
    )


@torch.inference_mode()
def make_clip(model, clip: dict) -> float:
    """Sample once; returns seconds. The warm-up has loaded everything before."""
    import comfy.model_management as management
    import comfy.samplers

    generator = torch.Generator().manual_seed(clip["seed"])
    context = torch.randn(1, TEXT_TOKENS, clip["shape"]["text_dim"], generator=generator)
    noise = torch.randn(1, 16, clip["frames"], *clip["latent_size"], generator=generator)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds([[context, {}]], [[context, {}]])
    guider.set_cfg(1.0)
    sampler = comfy.samplers.ksampler("ar_video", {"num_frame_per_block": clip["chunk_frames"]})
    started = time.perf_counter()
    guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor(clip["sigmas"]), seed=3, disable_pbar=True)
    if management.get_torch_device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Answer requests until stdin ends."""
    out = answers()
    clip = model = None
    for line in sys.stdin:
        request = json.loads(line)
        if "clip" in request:
            clip = request["clip"]
            enter_comfyui(sys.argv[1], clip["device"] == "cpu")
            model = load(clip)
            answer = {"name": title()}
        else:
            answer = {"seconds": make_clip(model, clip), "kv_bytes": None}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
