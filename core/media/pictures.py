"""Picture files, upright as their EXIF orientation says."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import DummyForcingError
from .clips import PictureClip

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
"""Pillow's names. Left to itself, it takes some videos for pictures that it cannot read; FFmpeg reads GIFs."""

_BYTES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow's modes of up to 8 bits a channel. It clips deeper ones when it converts to RGB; FFmpeg does not."""


def open_picture(path: Path) -> PictureClip | None:
    """The picture in a file; None for anything else: a video, an animation, more than 8 bits a channel, no file.

    Raises:
        DummyForcingError: the picture is damaged, or Pillow is missing.
    """
    try:
        import numpy as np
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise DummyForcingError(f"reading pictures needs Pillow ({error}); run: pip install pillow") from error
    try:
        with Image.open(path, formats=_FORMATS) as image:
            # In an MPO, which phones write, the other pictures are views or depth maps of the first.
            moving = image.format != "MPO" and getattr(image, "n_frames", 1) > 1
            if moving or image.mode not in _BYTES:
                return None
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, FileNotFoundError):
        return None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DummyForcingError(f"cannot read the picture {path}: {error}; check the path and the file") from error
    return PictureClip(torch.from_numpy(np.array(upright))[None])
