"""Memory of this process, and whether a benchmark fits into what is free."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import DummyForcingError
from ..free_memory import free_bytes, status_bytes
from ..stream.tally import format_bytes

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the high-water mark of the resident set


@dataclass
class PeakMemory:
    """The most bytes in use during a block; None where the machine does not tell.

    On a GPU this is all that PyTorch had allocated, weights included; on a CPU it is how much the process grew.
    """

    bytes: int | None = None


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measure a block; the result is complete when the block has ended."""
    peak = PeakMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # memory that earlier work freed must not hide what this block takes
        _CLEAR.write_text(_RESET_PEAK)
    before = process_bytes()
    yield peak
    after = _status_bytes("VmHWM")
    if before is not None and after is not None:
        peak.bytes = max(0, after - before)


def process_bytes() -> int | None:
    """Resident bytes of this process; None where there is no /proc."""
    return _status_bytes("VmRSS")


def check_room(needed: int, device: torch.device) -> None:
    """Raise DummyForcingError if the device has no room for so many bytes."""
    free = free_bytes(device)
    if free is not None and needed > free:
        raise DummyForcingError(
            f"this benchmark needs about {format_bytes(needed)} and {device.type} has {format_bytes(free)} free; "
            "use fewer --layers, a smaller --resolution, a shorter length, fewer policies or --no-decode"
        )


def _status_bytes(name: str) -> int | None:
    return status_bytes(_STATUS, name)
