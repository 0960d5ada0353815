"""Letting go of the memory-mapped pages of a file, so that loading it needs room for one copy and not for two.

Pages of a file that were read count as the process's memory until the mapping ends, that is until the last tensor
of the file is gone. On Linux they can be given back one tensor after the other; elsewhere the system takes them
when it needs room.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

from torch import Tensor

_LEAST = 1 << 16  # bytes; below, a call costs more than it gives


def let_go(value: Tensor) -> None:
    """Give the pages of a tensor back that a reader of `files` mapped; reading it again would bring them back.

    Memory that PyTorch allocated itself is left alone: it would be zero afterwards.
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
