"""The JSON report: where and how a command ran, and its figures."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..core.files import write_file


def environment(argv: Sequence[str], device: torch.device) -> dict[str, Any]:
    """Command, date (UTC), versions and machine that a figure belongs to."""
    return {
        "command": shlex.join(["dummy-forcing", *argv]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "dummy_forcing": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        },
    }


def describe_machine(facts: dict[str, Any]) -> str:
    """The machine of `environment` in one line."""
    machine, versions = facts["machine"], facts["versions"]
    return f"{machine['gpu'] or machine['processor']}, {machine['threads']} threads, torch {versions['torch']}"


def write_report(target: str | Path, report: dict[str, Any]) -> None:
    """Write a report to a file or, for "-", to stdout, where nothing else is printed."""
    text = json.dumps(_finite(report), indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_file(Path(target), text.encode())


def report_paths(target: str | None) -> list[Path]:
    """The file that `--json` writes, if it writes one."""
    return [] if target in (None, "-") else [Path(target)]


def _finite(value: Any) -> Any:
    """JSON has no infinity (the PSNR of equal clips) and no nan: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _processor() -> str:
    """The processor's name; Linux tells it only in /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
