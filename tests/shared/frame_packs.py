"""Reads a pack of frames (core/media/frame_pack.py), as web/live/frame_pack.js does."""

import struct
from itertools import accumulate


def unpack(data: bytes) -> list[bytes]:
    """The files in one; checks that they fill it."""
    (count,) = struct.unpack_from("<I", data)
    sizes, at = struct.unpack_from(f"<{count}I", data, 4), 4 + 4 * count
    assert at + sum(sizes) == len(data)
    ends = [at + end for end in accumulate(sizes)]
    return [data[end - size : end] for size, end in zip(sizes, ends, strict=True)]
