"""Letting go of the memory-mapped pages of a file, so that loading needs room for one copy of it and not for two.

Pages of a file that were read count as the process's memory until the mapping ends, which is when the last tensor
of the file is gone. On Linux they can be given back one tensor at a time; elsewhere the system reclaims them when
it needs room.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

from torch import Tensor

_LEAST = 1 << 16  # bytes; for smaller tensors the call costs more than it brings


def let_go(value: Tensor) -> None:
    """Give back the pages of a tensor that is mapped from a file; a later read would load them again.

    Memory that PyTorch allocated itself is left alone: after the call it would be all zeros.
    """
    if not sys.platform.startswith("linux") or value.device.type != "cpu" or value.nbytes < _LEAST:
        return
    if value.untyped_storage().resizable() or not value.is_contiguous():
        return
    page = mmap.PAGESIZE
    begin = -(-value.data_ptr() // page) * page
    end = (value.data_ptr() + value.nbytes) // page * page
    if begin < end:
        _libc().madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
