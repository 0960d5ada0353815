"""How many bytes a device can still provide."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
# Files with a container's limit, use and statistics, and the line of the statistics that says what can be dropped:
# of cgroup 2, then of cgroup 1.
_CONTAINER = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that this process can still get on the device; None where the machine does not tell.

    On a GPU these are the bytes that nobody has allocated, plus those that PyTorch holds unused; elsewhere they are
    RAM and swap, within a container's limit.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    found = [each for each in (_free_ram(), _free_in_container(_CGROUPS)) if each is not None]
    return min(found, default=None)


def lent_to_gpu(ram: int, platform: str = sys.platform) -> int:
    """Bytes that drivers lend to a full GPU out of `ram` bytes of RAM: half on Windows, though slow; else none."""
    return ram // 2 if platform == "win32" else 0


def _free_ram() -> int | None:
    if _MEMINFO.is_file():
        return sum(status_bytes(_MEMINFO, name) or 0 for name in ("MemAvailable", "SwapFree"))
    try:
        import psutil
    except ImportError:
        return None
    return psutil.virtual_memory().available + psutil.swap_memory().free


def _free_in_container(root: Path) -> int | None:
    for limit, used, statistics, droppable in _CONTAINER:
        try:
            most, now = int((root / limit).read_text()), int((root / used).read_text())
            counts = dict(line.split() for line in (root / statistics).read_text().splitlines())
        except (OSError, ValueError):  # "max" stands for no limit
            continue
        return max(0, most - now + int(counts.get(droppable, 0)))
    return None


def status_bytes(file: Path, name: str) -> int | None:
    """The value of a line such as "VmRSS:   1234 kB" in a file of /proc, in bytes; None without such a line."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return next((1024 * int(number) for number in found), None)
