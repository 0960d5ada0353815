"""The frames of a chunk as JPEG files packed into one, which a browser can draw at once, frame by frame.

    uint32 count, uint32 size of each file, the files; little endian

Measured against fragmented MP4 in `benchmarks/live_transport.py`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from torch import Tensor

from .frames import to_bytes

QUALITY = 85
_FULL_COLOUR = 90


def encode_jpegs(frames: Tensor, quality: int = QUALITY) -> list[bytes]:
    """Each of frames [T, H, W, 3], float in [0, 1] or uint8, as a JPEG file.

    From a quality of 90 on, colour has the same resolution as brightness, and no block of 8 x 8 pixels depends on
    another.
    """
    from PIL import Image

    subsampling = "4:4:4" if quality >= _FULL_COLOUR else "4:2:0"
    files = []
    for pixels in to_bytes(frames):
        file = io.BytesIO()
        Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=quality, subsampling=subsampling)
        files.append(file.getvalue())
    return files


def pack(files: Sequence[bytes]) -> bytes:
    """Several files as one."""
    return struct.pack(f"<I{len(files)}I", len(files), *map(len, files)) + b"".join(files)
