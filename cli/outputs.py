"""Files that appear complete or not at all, and are known to be writable before the work begins."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core.errors import DummyForcingError


def check_outputs(paths: Sequence[Path]) -> None:
    """Raise DummyForcingError unless every path can be written and all are different; leaves nothing behind."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise DummyForcingError(f"two outputs go to {path}; give each its own file name")
        seen.add(path.resolve())
        _check_writable(path)


def check_suffix(path: Path, suffixes: Sequence[str], what: str) -> None:
    """Raise DummyForcingError unless the file name ends in one of `suffixes`."""
    if path.suffix.lower() not in suffixes:
        raise DummyForcingError(f"cannot write {what} to {path.name!r}; end the name in {' or '.join(suffixes)}")


def write_file(path: Path, data: bytes) -> None:
    """Write `data`, making folders as needed; on failure the file is what it was before."""
    draft = _hidden_sibling(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(data)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A hidden folder whose files move into `target` together when the block ends well, else vanish."""
    with _explained(target):
        created = _make_folder(target)
        stage = Path(tempfile.mkdtemp(prefix=".unfinished.", dir=target))
    try:
        yield stage
        with _explained(target):
            for file in sorted(stage.iterdir()):
                os.replace(file, target / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(created)


def _check_writable(path: Path) -> None:
    """Make the folder and a hidden file for a moment: permission bits alone tell too little."""
    with _explained(path):
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        created = _make_folder(path.parent)
        try:
            probe = _hidden_sibling(path)
            probe.touch(exist_ok=False)
            probe.unlink()
        finally:
            _remove_empty(created)


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder and return those that were missing, innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        _remove_empty(missing)
        raise
    return missing


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _hidden_sibling(path: Path) -> Path:
    return path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DummyForcingError(f"cannot write {path}: {reason}; choose a folder you may write to") from error
