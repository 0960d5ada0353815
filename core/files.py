"""Reads text as editors save it. Writes files completely or not at all, and checks beforehand that they can be."""

from __future__ import annotations

import codecs
import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import DummyForcingError

_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_text(path: Path) -> str:
    """Read a text file as editors save it: UTF-8 with or without a byte-order mark, or UTF-16 with one; any line
    endings.

    Raises DummyForcingError when it cannot be read.
    """
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
        text = data.decode(encoding)
    except OSError as error:
        raise DummyForcingError(
            f"cannot read {path}: {error.strerror or error}; give a text file that exists"
        ) from error
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise DummyForcingError(_binary(path)) from error
        raise DummyForcingError(f"{path} is not text in UTF-8; save the text again as UTF-8") from error
    if "\0" in text:
        raise DummyForcingError(_binary(path))
    return text


def _binary(path: Path) -> str:
    return f"{path} is no text file: there are zero bytes in it; give a text file in UTF-8"


def write_file(path: Path, data: bytes) -> None:
    """Write `data`, making folders as needed; on failure file and folders are what they were before.

    Raises DummyForcingError when the file cannot be written.
    """
    with replaced_file(path) as draft:
        draft.write_bytes(data)


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A hidden file that becomes `path` if the block succeeds and vanishes if not; makes folders as needed.

    Raises DummyForcingError when the file cannot be written.
    """
    with explain_write_errors(path):
        created = make_folder(path.parent)
        draft = hidden_sibling(path)
        try:
            yield draft
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
            remove_empty(created)


def check_writable(path: Path) -> None:
    """Raise DummyForcingError unless a file can be written to `path`; leaves nothing behind.

    Briefly makes the folder and a hidden file, because permission bits alone do not tell enough.
    """
    with explain_write_errors(path):
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        created = make_folder(path.parent)
        try:
            probe = hidden_sibling(path)
            probe.touch(exist_ok=False)
            probe.unlink()
        finally:
            remove_empty(created)


def hidden_sibling(path: Path, suffix: str = ".tmp") -> Path:
    """A new hidden name in the same folder, so that the finished file can replace `path` in one step."""
    # The stem is cut because file names have at most 255 bytes.
    return path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}{suffix}")


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and return those that were missing, innermost first, as `remove_empty` takes them."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(missing)
        raise
    return missing


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those of the folders, innermost first, that are empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextlib.contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a DummyForcingError about `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DummyForcingError(f"cannot write {path}: {reason}; choose a folder you may write to") from error
