"""Elementwise work of a block at the sizes of Wan 1.3B, 480p: `python benchmarks/elementwise.py`.

From the projections to attention and back (norm, RoPE, heads sorted into stores and out of them; attention itself
left out) as separate operations, as it was until 2026-11-21, and by every back end that runs here; LayerNorm with
scale and shift, with and without the residual before it, likewise. They take turns; what counts is the ratio of the
medians. Writes benchmarks/results/<output>.json. With ComfyUI's Python it measures comfy-kitchen too; on a GPU what
runs there.
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
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

ROOT = Path(__file__).resolve().parent.parent
TOKENS, HEADS, HEAD_DIM, FRAMES = 4680, 12, 128, 3
DIM = HEADS * HEAD_DIM
GROUPS = {
    "all heads": (tuple(range(12)),),
    "6 dummy or sink, 6 neighbor heads": ((0, 2, 3, 7, 8, 11), (1, 4, 5, 6, 9, 10)),
    "3, 3 and 6 heads": ((0, 7, 8), (2, 3, 11), (1, 4, 5, 6, 9, 10)),
}
BACK_ENDS = ("torch", "fused", "kitchen")

if importlib.util.find_spec("dummy_forcing") is None:  # ComfyUI's Python, where the pack is not installed
    spec = importlib.util.spec_from_file_location(
        "dummy_forcing", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    sys.modules["dummy_forcing"] = importlib.util.module_from_spec(spec)

from dummy_forcing.kernels import (  # noqa: E402
    HeadTarget,
    Modulation,
    NormRope,
    QKNorm,
    apply_rope,
    force_elementwise,
    layer_norm,
    place_heads,
    put_heads,
    residual_norm,
)

Case = dict[str, Callable[[], object]]


def sorting(groups, dtype: torch.dtype, device: str) -> Case:
    """Projections to attention and back; queries stand for its output."""
    q, k, v = (torch.randn(1, TOKENS, HEADS, HEAD_DIM, device=device).to(dtype) for _ in range(3))
    angles = torch.randn(TOKENS, 1, HEAD_DIM // 2, device=device)
    norms = [QKNorm(torch.ones(DIM, dtype=dtype, device=device), 1e-6) for _ in range(2)]
    norm_rope = NormRope(torch.polar(torch.ones_like(angles), angles), *norms)
    stores = [torch.empty(2, 1, 2 * TOKENS, len(heads), HEAD_DIM, dtype=dtype, device=device) for heads in groups]
    targets = [HeadTarget(heads, *store[:, :, TOKENS:]) for heads, store in zip(groups, stores, strict=True)]
    index = [torch.tensor(heads, device=device) for heads in groups]

    def apart():
        turned = []
        for x, norm in zip((q, k), norms, strict=True):
            x = torch.nn.functional.rms_norm(x.flatten(2), (DIM,), norm.gain, norm.eps).view(x.shape)
            turned.append(apply_rope(x, norm_rope.rotations))
        if len(groups) == 1:
            targets[0].k.copy_(turned[1])
            targets[0].v.copy_(v)
            return turned[0]
        out = torch.empty_like(q)
        for heads, target in zip(index, targets, strict=True):
            asked, keys, values = (x[:, :, heads] for x in (*turned, v))
            target.k.copy_(keys)
            target.v.copy_(values)
            out[:, :, heads] = asked
        return out

    def together():
        asked = place_heads(q, k, v, targets, norm_rope)
        if len(groups) == 1:
            return asked[0]
        out = torch.empty_like(q)
        for heads, queries in zip(groups, asked, strict=True):
            put_heads(out, heads, queries)
        return out

    return {"apart": apart} | by_back_end(together)


def norms(residual: bool, dtype: torch.dtype, device: str) -> Case:
    """LayerNorm, scale and shift."""
    x, update = (torch.randn(1, TOKENS, DIM, device=device).to(dtype) for _ in range(2))
    shifts = torch.randn(1, FRAMES, 6, DIM, device=device).to(dtype)
    then = Modulation(shifts[:, :, 0], shifts[:, :, 1])
    if residual:
        return by_back_end(lambda: residual_norm(x, update, shifts[:, :, 2], 1e-6, then))
    return by_back_end(lambda: layer_norm(x, 1e-6, then))


def by_back_end(run: Callable[[], object]) -> Case:
    """Those of the back ends that run here."""

    def through(name: str) -> Callable[[], object]:
        def forced():
            with force_elementwise(name):
                return run()

        return forced

    found = {name: through(name) for name in BACK_ENDS}
    return {name: each for name, each in found.items() if works(each)}


def works(run: Callable[[], object]) -> bool:
    """Whether a back end is here and fits."""
    try:
        run()
    except ValueError:
        return False
    return True


@torch.inference_mode()
def measure(case: Case, repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of every repeat; all have run once."""
    seconds: dict[str, list[float]] = {name: [] for name in case}
    for repeat in range(repeats + 1):
        for name, run in case.items():
            started = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", default="elementwise", help="name of the results (default: elementwise)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    load, rows = os.getloadavg()[0], []
    for dtype in (torch.bfloat16, torch.float32):
        cases = {f"projections to attention, {name}": sorting(each, dtype, device) for name, each in GROUPS.items()}
        cases["LayerNorm, scale and shift"] = norms(False, dtype, device)
        cases["gated residual, LayerNorm, scale and shift"] = norms(True, dtype, device)
        for name, case in cases.items():
            seconds = measure(case, options.repeats, device)
            first = median(next(iter(seconds.values())))
            for back_end, taken in seconds.items():
                ratio = median(taken) / first
                rows.append(
                    {
                        "case": name,
                        "dtype": str(dtype).removeprefix("torch."),
                        "back_end": back_end,
                        "to_first": round(ratio, 3),
                        "fastest_to_first": round(min(taken) / min(next(iter(seconds.values()))), 3),
                    }
                )
                print(f"{name}, {rows[-1]['dtype']}, {back_end}: {ratio:.2f}")
    setting = {
        "command": f"python benchmarks/elementwise.py {' '.join(sys.argv[1:])}".strip(),
        "tokens": TOKENS,
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        "repeats": options.repeats,
        "threads": options.threads,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, load {load:.1f} before, "
        f"{os.getloadavg()[0]:.1f} after",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    file = ROOT / "benchmarks" / "results" / f"{options.output}.json"
    file.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
