"""The Triton kernels build for GPUs that are not here: code for them is made, not run."""

import json
import subprocess
import sys
from functools import partial

import pytest
from attention_cases import TRITON

# Runs in a fresh interpreter, since Triton decides at its import whether to interpret; argv: JSON of a case.
BUILD = """
import importlib, inspect, json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dummy_forcing.kernels.triton_kernel import built

case = json.loads(sys.argv[1])
function = getattr(importlib.import_module("dummy_forcing.kernels." + case["module"]), case["function"])
constants = case["constants"]
names = list(inspect.signature(function).parameters)
types = case["types"] | dict.fromkeys(constants, "constexpr")
pointers = [name for name in names if name.isupper() and name not in constants]
strides = [name for name in names if name == "dim" or name[-2:] in ("_b", "_l", "_h", "_f")]
types = dict.fromkeys(pointers, "*" + case["dtype"]) | types
source = ASTSource(
    fn=built(function),
    signature={name: types.get(name, "i32") for name in names},
    constexprs={(names.index(name),): value for name, value in constants.items()},
    attrs={(names.index(name),): [["tt.divisibility", 16]] for name in pointers + strides},
)
made = triton.compile(source, target=GPUTarget("cuda", case["capability"], 32), options=case["options"])
ptx = made.asm["ptx"]
print(json.dumps({"shared": made.metadata.shared, "wgmma": "wgmma" in ptx, "vectors": "st.global.v4" in ptx}))
"""


@pytest.fixture
def build(tmp_path):
    return partial(build_in, tmp_path)


def build_in(cache, **case):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cache), "TRITON_CACHE_DIR": str(cache)}
    run = subprocess.run(
        [sys.executable, "-c", BUILD, json.dumps(case)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


def attention(*, capability, dtype, head_dim, bias, tile):
    block_m, block_n, warps, stages = tile
    return {
        "module": "range_sparse",
        "function": "range_sparse",
        "capability": capability,
        "dtype": dtype,
        "types": {"BIAS": "*fp32", "OFFSETS": "*i32", "RANGES": "*i32", "scale": "fp32"},
        "constants": {
            "HEAD_DIM": head_dim, "HAS_BIAS": bias, "WIDE": False, "BLOCK_M": block_m, "BLOCK_N": block_n,
        },
        "options": {"num_warps": warps, "num_stages": stages},
    }  # fmt: skip


def norm_rope(capability, dtype, heads, head_dim):
    """Norm, RoPE and KV write of a row of a model."""
    return {
        "module": "norm_rope_triton",
        "function": "finish_heads",
        "capability": capability,
        "dtype": dtype,
        "types": {"ROTATIONS": "*fp32", "PLACES": "*i32", "eps_q": "fp32", "eps_k": "fp32"},
        "constants": {"HEADS": heads, "CHANNELS": head_dim, "NORM_Q": True, "NORM_K": True},
        "options": {"num_warps": 8},
    }


def layer_norm(capability, dtype, channels):
    flags = ("HAS_UPDATE", "HAS_GATE", "HAS_SCALE", "HAS_SHIFT", "ABOUT_ONE")
    return {
        "module": "layer_norm_triton",
        "function": "residual_layer_norm",
        "capability": capability,
        "dtype": dtype,
        "types": {"eps": "fp32"},
        "constants": {**dict.fromkeys(flags, True), "CHANNELS": channels},
        "options": {"num_warps": 8},
    }


@TRITON
def test_attention_builds_for_hopper_and_uses_its_matrix_units(build):
    built = build(**attention(capability=90, dtype="bf16", head_dim=128, bias=True, tile=(128, 64, 8, 3)))
    assert built["wgmma"] and built["shared"] <= 227 * 1024


@TRITON
@pytest.mark.parametrize("case", [norm_rope(90, "bf16", 16, 128), layer_norm(90, "bf16", 2048)])
def test_elementwise_work_builds_for_hopper_and_writes_16_bytes_at_a_time(build, case):
    assert build(**case)["vectors"]


@TRITON
@pytest.mark.heavy
@pytest.mark.parametrize("capability", [80, 86, 89, 90, 100, 120])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_some_tile_fits_every_gpu(build, capability, head_dim):
    """64 x 32 with four stages is for those with 100 KiB of shared memory."""
    for dtype in ("bf16", "fp16"):
        case = attention(capability=capability, dtype=dtype, head_dim=head_dim, bias=False, tile=(64, 32, 4, 4))
        assert build(**case)["shared"] <= 99 * 1024


@TRITON
@pytest.mark.heavy
@pytest.mark.parametrize("capability", [80, 86, 89, 90, 100, 120])
def test_elementwise_work_builds_for_every_gpu(build, capability):
    """Rows of Wan 1.3B and 14B."""
    for dtype in ("bf16", "fp32"):
        for heads, channels in ((16, 2048), (64, 8192)):
            for case in (norm_rope(capability, dtype, heads, 128), layer_norm(capability, dtype, channels)):
                assert build(**case)["shared"] <= 99 * 1024
