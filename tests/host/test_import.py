"""ComfyUI's own loader takes the pack in whatever state the machine's other packages are, and on a ComfyUI too old.

The cases run one after the other in a process of their own, which is this file as a script; each loads the pack
from a folder of its own, so that nothing is imported already.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
OPTIONAL = ("flash_attn", "triton", "sageattention")


def break_optional_packages(folder):
    """As a wheel for another CUDA does: the package is there, its library does not load."""
    for name in OPTIONAL:
        forget(name)
        (folder / f"{name}.py").write_text("raise OSError('undefined symbol: _ZN3c10')")
    sys.path.insert(0, str(folder))


def hide_optional_packages(_):
    for name in OPTIONAL:
        forget(name)
        sys.modules[name] = None  # importing it raises ModuleNotFoundError


def hide_ar_support(_):
    sys.modules["comfy.ldm.wan.ar_model"] = None


def forget(package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


CASES = {"as it is": lambda _: None, "broken": break_optional_packages, "absent": hide_optional_packages,
         "too old": hide_ar_support}  # fmt: skip


def load_pack(case, folder):
    """What ComfyUI's loader says, which nodes there are then, and what was logged."""
    import nodes

    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append((record.levelname, record.getMessage()))
    pack = folder / "custom_nodes" / case.replace(" ", "-")
    pack.parent.mkdir(exist_ok=True)
    pack.symlink_to(PACK, target_is_directory=True)
    CASES[case](folder)
    nodes.NODE_CLASS_MAPPINGS.clear()
    logging.getLogger().addHandler(handler)
    loaded = asyncio.run(nodes.load_custom_node(str(pack)))
    logging.getLogger().removeHandler(handler)
    return {"loaded": loaded, "nodes": sorted(nodes.NODE_CLASS_MAPPINGS), "log": records}


@pytest.fixture(scope="module")
def loads(comfyui, tmp_path_factory):
    """What `load_pack` gives, by case."""
    command = [sys.executable, __file__, str(comfyui), str(tmp_path_factory.mktemp("packs"))]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def complaints(load):
    return [message for level, message in load["log"] if level not in ("DEBUG", "INFO")]


@pytest.mark.parametrize("case", ["as it is", "broken", "absent"])
def test_optional_packages_do_not_matter(loads, case):
    assert loads[case]["loaded"] and not complaints(loads[case])
    assert loads[case]["nodes"] == loads["as it is"]["nodes"] and len(loads[case]["nodes"]) >= 10


def test_a_comfyui_without_ar_support_gets_one_line_and_no_nodes(loads):
    (line,) = complaints(loads["too old"])
    assert "ComfyUI 0.27 or newer" in line and "comfy.ldm.wan.ar_model" in line and "\n" not in line
    assert loads["too old"]["loaded"] and loads["too old"]["nodes"] == []


def main():
    """Arguments: ComfyUI's folder and an empty one; prints what `load_pack` gives, as JSON."""
    sys.path[0] = sys.argv[1]  # was tests/host, whose `server` hides ComfyUI's
    os.chdir(sys.argv[1])
    from comfy.cli_args import args

    args.cpu = True
    print(json.dumps({case: load_pack(case, Path(sys.argv[2])) for case in CASES}))


if __name__ == "__main__":
    main()
