"""Other programs on the same weights, each a worker process that makes a clip whenever it is asked to.

So their Python and their packages do not mix with ours. A worker reads one JSON object per line from stdin and
answers each with one on stdout: {"clip": setting} builds the model, answered with {"name": program and versions};
{"run": n} makes the clip once, answered with {"seconds": s, "kv_bytes": b or null}.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ..errors import DummyForcingError
from .setting import BenchSetting
from .subjects import ChunkTime, PassTime, VideoSample


class WorkerSubject:
    """A clip made by another program; a turn is a whole clip. Close it to end the program."""

    def __init__(self, title: str, command: Sequence[str | Path], setting: BenchSetting, backbone: nn.Module):
        self.name = title
        self._chunks = setting.lengths[0] // setting.chunk_frames
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        try:
            with tempfile.TemporaryDirectory() as folder:
                weights = Path(folder) / "weights.safetensors"
                save_file(backbone.state_dict(), weights)
                self.name = self._ask({"clip": clip_request(setting, weights)})["name"]
        except BaseException:
            self.close()
            raise

    def sample(self) -> Iterator[None]:
        """One turn."""
        answer = self._ask({"run": 1})
        yield
        time = ChunkTime(self._chunks - 1, (PassTime(answer["seconds"]),), answer.get("kv_bytes"))
        return VideoSample((time,))

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else "it said nothing"
            raise DummyForcingError(f"{self.name} cannot be measured: {reason}") from error


def clip_request(setting: BenchSetting, weights: Path) -> dict[str, Any]:
    """All that another program needs to make the clip."""
    config = setting.stream(setting.policies[0].memory, setting.lengths[0])
    return {
        "shape": setting.shape.wan.to_dict(),
        "weights": str(weights),
        "latent_size": list(setting.latent_size),
        "frames": setting.lengths[0],
        "chunk_frames": setting.chunk_frames,
        "sigmas": list(config.sigmas),
        "device": setting.device.type,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "seed": setting.seed,
    }


def host_command(comfyui: Path, python: Path | None) -> list[str | Path]:
    """How to run core ComfyUI's own sampler; raises DummyForcingError if there is no ComfyUI."""
    if not (comfyui / "main.py").is_file():
        raise DummyForcingError(f"there is no ComfyUI in {comfyui}; give --host the folder with its main.py")
    own = (comfyui / folder / "bin" / "python" for folder in (".venv", "venv"))
    python = python or next((path for path in own if path.is_file()), Path(sys.executable))
    # Isolated: the folder of the script has a types.py, which would hide Python's own.
    return [python, "-I", _ROOT / "nodes" / "host" / "bench_host.py", comfyui.resolve()]


def peer_command(checkout: Path, cuda: bool) -> list[str | Path]:
    """How to run the Dummy Forcing authors' code; raises DummyForcingError where it cannot run."""
    if not (checkout / "wan" / "modules" / "dummyforcing.py").is_file():
        raise DummyForcingError(
            f"{checkout} is no checkout of the Dummy Forcing authors' code; clone csguoh/DummyForcing and give its "
            "folder"
        )
    if not cuda:
        raise DummyForcingError(
            "the Dummy Forcing authors' code needs CUDA and flash-attn; leave out --peer or use a GPU"
        )
    return [sys.executable, Path(__file__).with_name("peer_worker.py"), checkout.resolve()]


_ROOT = Path(__file__).resolve().parents[2]
