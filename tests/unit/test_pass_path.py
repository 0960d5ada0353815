"""The files that a pass of dense memory runs through: few, and those of docs/architecture.md, in this order."""

import re
import sys
from pathlib import Path

import torch

from dummy_forcing.core.clock import ChunkClock
from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.dense import Dense
from dummy_forcing.core.stream.denoiser import BackboneDenoiser
from dummy_forcing.core.video import VideoShape
from dummy_forcing.core.wan.forward import model_sizes

ROOT = Path(__file__).resolve().parents[2]
HEADING = "## The path of a pass"
MOST = 16


def files_that_run(call) -> list[str]:
    """Files of core/ and kernels/ of which functions run during a call, in order of first use."""
    found: dict[str, None] = {}

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            found.setdefault(path.relative_to(ROOT).as_posix())

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return [file for file in found if file.startswith(("core/", "kernels/"))]


def documented() -> list[str]:
    """The numbered list of docs/architecture.md."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    section = text.split(f"\n{HEADING}\n")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)


@torch.inference_mode()
def test_a_pass_of_dense_memory_takes_the_documented_path(tiny_wan):
    video = VideoShape(**model_sizes(tiny_wan), chunk_frames=3, total_frames=9, grid=(2, 2))
    denoiser = BackboneDenoiser(tiny_wan, torch.randn(1, 5, 16), MemoryConfig(Dense()), video)
    x = torch.randn(1, 4, 3, 4, 4)

    def clock(chunk: int, pass_index: int, sigma: float) -> ChunkClock:
        return ChunkClock(chunk, 3 * chunk, 3, 4, pass_index, sigma, clean=sigma == 0)

    denoiser.flow(x, clock(0, 0, 1.0))
    denoiser.keep(x, clock(0, 1, 0.0))
    denoiser.flow(x, clock(1, 0, 1.0))  # chooses kernels, makes the chunk's rotations
    path = files_that_run(lambda: denoiser.flow(x, clock(1, 1, 0.5)))
    assert len(path) <= MOST, path
    assert path == documented()
