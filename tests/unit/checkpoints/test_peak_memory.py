"""Loading needs room for one copy of the file: measured as peak RSS of a process of its own, on a file of 1 GB."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WanShape

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read as Linux tells it"),
]

SHAPE = WanShape(dim=1536, heads=12, layers=5, ffn_dim=8960)
TINY = WanShape(dim=128, heads=1, layers=1, ffn_dim=64)

# Peak of resident memory over what the process had before, file-backed pages included.
SCRIPT = """
import importlib.util, json, sys
from pathlib import Path
root, job, path, out, dtype = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "dummy_forcing", root + "/__init__.py", submodule_search_locations=[root])
sys.modules["dummy_forcing"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["dummy_forcing"])
import torch
from dummy_forcing.core.checkpoints.convert import convert
from dummy_forcing.core.checkpoints.facts import inspect_checkpoint
from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.checkpoints.opened import open_backbone
torch.set_num_threads(1)

def resident(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(entry))

def run(path):
    if job in ("open", "open in FP8"):
        return open_checkpoint(path, dtype=getattr(torch, dtype), fp8=job != "open")
    if job == "convert":
        return convert(open_backbone(Path(path)), Path(out), getattr(torch, dtype))
    return inspect_checkpoint(Path(path))

small = run(str(Path(path).with_name("self_forcing_small" + Path(path).suffix)))  # what PyTorch loads once
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
done = run(path)
print(json.dumps(resident("VmHWM") - before))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same weights as files of several kinds, and in bfloat16."""
    folder = tmp_path_factory.mktemp("files")
    state = {f"model.{name}": torch.randn(value.shape) for name, value in CausalWan(SHAPE).state_dict().items()}
    torch.save({"generator_ema": state}, folder / "self_forcing.pt")
    save_file(state, folder / "self_forcing.safetensors")
    names = sorted(state)
    for index in range(2):
        part = {name: state[name] for name in names[index::2]}
        save_file(part, folder / f"self_forcing_shards-{index + 1:05}-of-00002.safetensors")
    small = {name: torch.randn(value.shape) for name, value in CausalWan(TINY).state_dict().items()}
    torch.save(small, folder / "self_forcing_small.pt")
    save_file(small, folder / "self_forcing_small.safetensors")
    halved = {name: value.bfloat16() for name, value in state.items()}
    save_file(halved, folder / "self_forcing_half.safetensors")
    torch.save({"generator_ema": halved}, folder / "self_forcing_half.pt")
    yield folder
    for file in folder.iterdir():  # gigabytes, which pytest would keep
        file.unlink()


def peak(job, path, dtype, out="unused"):
    root = str(Path(__file__).resolve().parents[3])
    argv = [sys.executable, "-c", SCRIPT, root, job, str(path), str(out), dtype]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def size_of(path):
    return sum(file.stat().st_size for file in path.parent.glob(path.name.replace("00001-of", "*-of")))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("self_forcing.pt", "float32"),
        ("self_forcing.safetensors", "float32"),
        ("self_forcing_half.pt", "bfloat16"),
        ("self_forcing_half.safetensors", "bfloat16"),
        ("self_forcing_shards-00001-of-00002.safetensors", "float32"),
    ],
)
def test_loading_in_the_type_of_the_file(folder, name, dtype):
    size = size_of(folder / name)
    assert size > (1_000_000_000 if dtype == "float32" else 500_000_000)
    assert peak("open", folder / name, dtype) <= 1.2 * size


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_casting_needs_what_the_module_becomes(folder, ending):
    narrow, wide = folder / f"self_forcing_half.{ending}", folder / f"self_forcing.{ending}"
    assert peak("open", wide, "bfloat16") <= 1.2 * size_of(narrow)
    assert peak("open", narrow, "float32") <= 1.2 * size_of(wide)


def test_quantising_needs_what_the_module_becomes(folder):
    """The module is 0.55 of the file; one weight, a twentieth of the file, is there in fp32 as well."""
    path = folder / "self_forcing_half.safetensors"
    assert peak("open in FP8", path, "bfloat16") <= 0.85 * size_of(path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_converting_needs_room_for_one_tensor(folder, dtype):
    out = folder / "new.safetensors"
    assert peak("convert", folder / "self_forcing.pt", dtype, out) <= 0.25 * size_of(folder / "self_forcing.pt")
    out.unlink()


def test_inspecting_reads_no_weights(folder):
    for name in ("self_forcing.pt", "self_forcing.safetensors"):
        assert peak("inspect", folder / name, "float32") <= 0.05 * size_of(folder / name)
