"""`dummy-forcing bench --peer`: the Dummy Forcing authors' code on the bench's weights, in a process of its own.

All their code is imported from a checkout of csguoh/DummyForcing; this file adds the loop around their model:
denoising passes and a clean one per chunk, with the cache dictionaries that the model expects. `workers.py` starts
this program with the checkout as its argument and describes how the two talk. Half of the heads become dummies, as
in their settings; the roles follow from random weights.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path

import torch

TEXT_TOKENS = 512
DUMMY_SHARE = 0.5
RESIDENT = "cuda"


def answers():
    """The real stdout; from now on everything else that prints there goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def enter(checkout: Path) -> None:
    """Make the modules of the checkout importable, without all that its packages import besides (T5, CLIP, ...)."""
    sys.path[0] = str(checkout)
    for name in ("wan", "wan.modules"):
        package = types.ModuleType(name)
        package.__path__ = [str(checkout.joinpath(*name.split(".")))]
        sys.modules[name] = package


def load(clip: dict):
    """Their model with our weights and their settings for 480p."""
    from safetensors.torch import load_file
    from wan.modules.causal_model import CausalWanModel

    shape = clip["shape"]
    model = CausalWanModel(
        dim=shape["dim"], ffn_dim=shape["ffn_dim"], freq_dim=shape["freq_dim"], text_dim=shape["text_dim"],
        in_dim=shape["in_channels"], out_dim=shape["out_channels"], num_heads=shape["heads"],
        num_layers=shape["layers"], local_attn_size=-1, sink_size=0,
    )  # fmt: skip
    model.load_state_dict(load_file(clip["weights"]), strict=True)
    model.args = types.SimpleNamespace(
        denoise_start=0, ar_start=1, local_context_length=1, teacache_enabled=False, teacache_threshold=0.2,
        num_dummy=round(DUMMY_SHARE * shape["layers"] * shape["heads"]),
    )  # fmt: skip
    for block in model.blocks:
        block.self_attn.args = model.args
    model.num_frame_per_block = clip["chunk_frames"]
    return model.eval().requires_grad_(False).to(RESIDENT, getattr(torch, clip["dtype"]))


def empty_caches(clip: dict) -> tuple[list[dict], list[dict]]:
    """Self- and cross-attention caches in the form that their model expects."""
    shape, dtype = clip["shape"], getattr(torch, clip["dtype"])
    heads, head_dim = shape["heads"], shape["dim"] // shape["heads"]

    def zeros(tokens: int):
        return torch.zeros(1, tokens, heads, head_dim, dtype=dtype, device=RESIDENT)

    names = ("sink_k", "sink_v", "local_k", "local_v")
    own = [{name: zeros(0) for name in names} for _ in range(shape["layers"])]
    cross = [{"k": zeros(TEXT_TOKENS), "v": zeros(TEXT_TOKENS), "is_init": False} for _ in range(shape["layers"])]
    return own, cross


@torch.inference_mode()
def make_clip(model, clip: dict) -> dict:
    """Make all chunks; returns the seconds of the model with its loop, and the bytes of KV cache at the end."""
    height, width = clip["latent_size"]
    tokens, dtype = height * width // 4, getattr(torch, clip["dtype"])
    generator = torch.Generator().manual_seed(clip["seed"])
    context = torch.randn(1, TEXT_TOKENS, clip["shape"]["text_dim"], generator=generator).to(RESIDENT, dtype)
    size = (1, clip["shape"]["in_channels"], clip["chunk_frames"], height, width)
    own, cross = empty_caches(clip)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for start in range(0, clip["frames"], clip["chunk_frames"]):
        x = torch.randn(size, device=RESIDENT, dtype=dtype)
        for sigma, after in zip(clip["sigmas"], [*clip["sigmas"][1:], None], strict=True):
            t = torch.full((1, clip["chunk_frames"]), 1000 * sigma, device=RESIDENT)
            flow = model(
                x, t=t, context=context, seq_len=tokens * clip["frames"], kv_cache=own, crossattn_cache=cross,
                current_start=start * tokens,
            )  # fmt: skip
            if after is not None:
                x0 = x - sigma * flow.to(dtype)
                x = (1 - after) * x0 + after * torch.randn_like(x0) if after else x0
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    kept = (value for cache in own for value in cache.values() if torch.is_tensor(value) and value.ndim == 4)
    return {"seconds": seconds, "kv_bytes": sum(value.numel() * value.element_size() for value in kept)}


def main() -> None:
    """Answer requests until stdin ends."""
    out = answers()
    enter(Path(sys.argv[1]))
    clip = model = None
    for line in sys.stdin:
        request = json.loads(line)
        if "clip" in request:
            clip = request["clip"]
            model = load(clip)
            answer = {"name": f"authors' Dummy Forcing, torch {torch.__version__}"}
        else:
            answer = make_clip(model, clip)
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
