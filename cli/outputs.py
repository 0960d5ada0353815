"""The files of a command: checked together before the work begins, and those of a folder written together."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..core.errors import DummyForcingError
from ..core.files import check_writable, explain_write_errors, make_folder, remove_empty


def check_outputs(paths: Sequence[Path | None], inputs: Mapping[str, Path | None] | None = None) -> None:
    """Raise DummyForcingError unless every path can be written and all are different; leaves nothing behind.

    inputs: files that the command reads, by the words that messages use; no output may be one of them. A path of
    None stands for no file.
    """
    seen: set[Path] = set()
    for path in filter(None, paths):
        if path.resolve() in seen:
            raise DummyForcingError(f"two outputs go to {path}; give each its own file name")
        seen.add(path.resolve())
        for words, read in (inputs or {}).items():
            if read is not None and _is_same(path, read):
                raise DummyForcingError(f"{path} is {words} itself; give the new file another name")
        check_writable(path)


def typed_inputs(args: argparse.Namespace, *options: str) -> dict[str, Path]:
    """The files of a command's options, for `check_outputs`."""
    found: dict[str, Path] = {}
    for option in options:
        value = getattr(args, option.replace("-", "_"))
        files = value if isinstance(value, list) else [value]
        found |= {f"the file of --{option} ({file})": Path(file) for file in files if file is not None}
    return found


def _is_same(path: Path, other: Path) -> bool:
    if path.resolve() == other.resolve():
        return True
    return path.exists() and other.exists() and path.samefile(other)


def check_suffix(path: Path | None, suffixes: Sequence[str], what: str) -> None:
    """Raise DummyForcingError unless the file name ends in one of `suffixes`; None is no output."""
    if path is not None and path.suffix.lower() not in suffixes:
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
