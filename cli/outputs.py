"""The files of a command: checked together before the work begins, and those of a folder written together."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core.errors import DummyForcingError
from ..core.files import check_writable, explain_write_errors, make_folder, remove_empty


def check_outputs(paths: Sequence[Path]) -> None:
    """Raise DummyForcingError unless every path can be written and all are different; leaves nothing behind."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise DummyForcingError(f"two outputs go to {path}; give each its own file name")
        seen.add(path.resolve())
        check_writable(path)


def check_suffix(path: Path, suffixes: Sequence[str], what: str) -> None:
    """Raise DummyForcingError unless the file name ends in one of `suffixes`."""
    if path.suffix.lower() not in suffixes:
        raise DummyForcingError(f"cannot write {what} to {path.name!r}; end the name in {' or '.join(suffixes)}")


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A hidden folder whose files move into `target` together when the block ends well, else vanish."""
    with explain_write_errors(target):
        created = make_folder(target)
        stage = Path(tempfile.mkdtemp(prefix=".unfinished.", dir=target))
    try:
        yield stage
        with explain_write_errors(target):
            for file in sorted(stage.iterdir()):
                os.replace(file, target / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        remove_empty(created)
