"""Video files as people have them, written with PyAV: each frame of one colour, so that none passes for another."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

STEP = 6
"""Grey levels between a frame and the next."""


@dataclass(frozen=True)
class Kind:
    """How a file is written; fragmented and stream kinds do not begin at time 0, raw ones have no times."""

    suffix: str
    format: str
    options: dict[str, str]


FRAGMENTED = Kind(".mp4", "mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"})
KINDS = {
    "mp4": Kind(".mp4", "mp4", {}),
    "fragmented mp4": FRAGMENTED,
    "transport stream": Kind(".ts", "mpegts", {}),
    "avi": Kind(".avi", "avi", {}),
    "raw h264": Kind(".h264", "h264", {}),
}


def write_greys(
    path: Path,
    count: int,
    rate: int = 16,
    kind: Kind = KINDS["mp4"],
    *,
    seconds: Callable[[int], Fraction] | None = None,
    sound: bool = False,
    size: tuple[int, int] = (32, 48),
) -> Path:
    """H.264 with B-frames and a key frame every 8; frame i has the level `STEP * i`.

    seconds: when frame i is shown, for a variable rate; whole 1/16000 s.
    """
    path = path.with_suffix(kind.suffix)
    tick = Fraction(1, rate) if seconds is None else Fraction(1, 16000)
    with av.open(str(path), "w", format=kind.format, options=kind.options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"bf": "2", "g": "8", "crf": "1"})
        stream.height, stream.width = size
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", tick
        noise = _sound(container) if sound else ()
        for index in range(count):
            pixels = np.full((*size, 3), STEP * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index if seconds is None else int(seconds(index) / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for packets in noise:
            container.mux(packets)
    return path


def _sound(container):
    stream = container.add_stream("aac", rate=16000, layout="mono")

    def packets():
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        yield stream.encode(frame)
        yield stream.encode(None)

    return packets()


def turn(path: Path) -> Path:
    """Write into an .mp4 that players turn it clockwise by a quarter, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def write_flat(path: Path, pixels: str, yuv: Sequence[int], full: bool, matrix: int, size=(32, 48)) -> Path:
    """One frame of one colour without loss (FFV1), tagged with range and matrix.

    pixels: FFmpeg's name of a planar YUV format. yuv: levels of its bit depth. matrix: ISO/IEC 23091-2 code.
    """
    frame = av.VideoFrame(size[1], size[0], pixels)
    wide = frame.format.components[0].bits > 8
    for plane, level in zip(frame.planes, yuv, strict=True):
        kind = np.uint16 if wide else np.uint8
        plane.update(np.full((plane.height, plane.line_size // np.dtype(kind).itemsize), level, kind).tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.color_range, context.colorspace = 2 if full else 1, matrix
        frame.color_range, frame.colorspace, frame.pts = context.color_range, matrix, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
