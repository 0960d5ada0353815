"""Tells a file that is cut short or damaged from one that simply ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from ..errors import DummyForcingError
from .formats import import_av

REMEDY = "copy or download the file again"
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_HEAD_BYTES = 4096  # read from the start of a file; the first header of a Matroska file is shorter
_BOXES = (b"mdat", b"moov", b"moof")


def decoded(container: Any, stream: Any, name: str, short: bool, whole: bool) -> Iterator[Any]:
    """Decode a stream's frames from the container's current position on.

    Args:
        name: what messages call the file.
        short: whether the file is cut short, as `is_short` finds out.
        whole: whether the container is at its beginning.

    Raises:
        DummyForcingError: after the last frame that can be decoded, if there should be more.
    """
    av = import_av()
    frames = 0
    try:
        for packet in container.demux(stream):
            for frame in packet.decode():
                frames += 1
                yield frame
    except av.error.InvalidDataError as error:
        raise _damaged(stream, name, frames if whole else None) from error
    if short and not (whole and frames == stream.frames):  # if all frames came, only audio is missing
        raise _damaged(stream, name, frames if whole else None)


def is_short(file: BinaryIO) -> bool:
    """Whether an MP4 or Matroska file has fewer bytes than its headers say; `file` must be at its beginning."""
    head = file.read(_HEAD_BYTES)
    size = file.seek(0, 2)
    if head.startswith(_EBML):
        end = _segment_end(head)
        return end is not None and size < end
    return head[4:8] == b"ftyp" and _lacks_bytes(file, size)


def _lacks_bytes(file: BinaryIO, size: int) -> bool:
    """Whether a box of an MP4 reaches beyond the end of the file (ISO/IEC 14496-12, section 4.2)."""
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[8:16] if header[:4] == b"\0\0\0\1" else header[:4], "big")
        if length < 8:  # it reaches to the end of the file, or is no box
            return False
        at += length
        if at > size:
            return header[4:8] in _BOXES
    return False


def _segment_end(head: bytes) -> int | None:
    """Where a Matroska file's segment ends, None if it does not say (RFC 9559, section 5.1)."""
    size, at = _number(head, len(_EBML))
    at += size or 0
    if head[at : at + len(_SEGMENT)] != _SEGMENT:
        return None
    size, at = _number(head, at + len(_SEGMENT))
    return None if size is None else at + size


def _number(data: bytes, at: int) -> tuple[int | None, int]:
    """The EBML size that begins at `at` (RFC 8794, section 4), None if unknown, and where its bytes end."""
    length = 9 - data[at].bit_length() if at < len(data) else 1
    most = (1 << 7 * length) - 1
    value = int.from_bytes(data[at : at + length], "big") & most
    return None if value == most else value, at + length


def _damaged(stream: Any, name: str, frames: int | None) -> DummyForcingError:
    of = f" of its {stream.frames}" if stream.frames else ""
    how_many = "" if frames is None else f": only the first {frames}{of} frames can be read"
    return DummyForcingError(
        f"{name} is cut short or damaged{how_many}; {REMEDY}, or cut it to the part that plays"
    )
