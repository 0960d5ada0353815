"""The Triton kernel builds for GPUs that are not here: code for them is made, not run."""

import json
import subprocess
import sys
from functools import partial

import pytest
from attention_cases import TRITON

# Runs in a fresh interpreter, since Triton decides at its import whether to interpret; argv: JSON of a case.
BUILD = """
import inspect, json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dummy_forcing.kernels import range_sparse

case = json.loads(sys.argv[1])
kernel, _ = range_sparse._kernel()
tile = range_sparse.Tile(*case["tile"])
constants = {"HEAD_DIM": case["head_dim"], "HAS_BIAS": case["bias"], "WIDE": False,
             "BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n}
names = list(inspect.signature(range_sparse.range_sparse).parameters)
types = dict.fromkeys(["Q", "K", "V", "OUT"], "*" + case["dtype"])
types |= {"BIAS": "*fp32", "OFFSETS": "*i32", "RANGES": "*i32", "scale": "fp32"}
types |= dict.fromkeys(constants, "constexpr")
aligned = [name for name in names if name.isupper() and name not in constants or name[1:] in ("_b", "_l", "_h")]
source = ASTSource(
    fn=kernel,
    signature={name: types.get(name, "i32") for name in names},
    constexprs={(names.index(name),): value for name, value in constants.items()},
    attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
)
options = {"num_warps": tile.warps, "num_stages": tile.stages}
built = triton.compile(source, target=GPUTarget("cuda", case["capability"], 32), options=options)
ptx = built.asm["ptx"]
print(json.dumps({"shared": built.metadata.shared, "wgmma": "wgmma" in ptx, "mma": "mma.sync" in ptx}))
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


@TRITON
def test_it_builds_for_hopper_and_uses_its_matrix_units(build):
    built = build(capability=90, dtype="bf16", head_dim=128, bias=True, tile=(128, 64, 8, 3))
    assert built["wgmma"] and built["shared"] <= 227 * 1024


@TRITON
@pytest.mark.heavy
@pytest.mark.parametrize("capability", [80, 86, 89, 90, 100, 120])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_some_tile_fits_every_gpu(build, capability, head_dim):
    """64 x 32 with four stages is for those with 100 KiB of shared memory."""
    for dtype in ("bf16", "fp16"):
        built = build(capability=capability, dtype=dtype, head_dim=head_dim, bias=False, tile=(64, 32, 4, 4))
        assert built["shared"] <= 99 * 1024
