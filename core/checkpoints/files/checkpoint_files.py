"""Reading files of tensors: safetensors, as one file or as shards in a folder, and PyTorch's own (`pickles`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import DummyForcingError
from ..layouts.wrapped_names import looks_like_vae
from .pickles import is_pickle, read_loose_tensors, read_pickle
from .record import with_record
from .unreadable import SUFFIX, one_line, why_no_safetensors

_INDEX_ENDING = f"{SUFFIX}.index.json"
_SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)(\.\w+)$")
_MOST_SHARDS = 999  # a file's name could claim any number of shards
_SHOWN = 3

Read = TypeVar("Read")
Contents = tuple[dict[str, Tensor], dict[str, str]]
"""Tensors by name and metadata."""


def read_tensors(path: Path) -> Contents:
    """Read one safetensors or PyTorch file.

    Returns:
        Tensors on the CPU by name, and the file's metadata; for a PyTorch file the metadata is that of
        `read_pickle`. The tensors are memory-mapped: copy those that must survive a change of the file.

    Raises:
        DummyForcingError: the file does not exist, is a folder, is cut short, has another format, or is a pickle
            that holds more than tensors.
    """
    with _explained(path):
        if is_pickle(path):
            return read_pickle(path)
    return _with_file(path, lambda file: (_tensors(file), file.metadata() or {}))


def read_loose(path: Path) -> dict[str, Tensor]:
    """As `read_tensors`, but gives all tensors of a PyTorch file, even unnamed ones (`read_loose_tensors`)."""
    with _explained(path):
        if is_pickle(path):
            return read_loose_tensors(path)
    return read_tensors(path)[0]


def tensor_names(path: Path) -> frozenset[str]:
    """Names of the tensors in a safetensors file; reads the header only. Raises like `read_tensors`."""
    return _with_file(path, lambda file: frozenset(file.keys()))


def read_checkpoint(path: Path, read: Callable[[Path], Contents] = read_tensors) -> Contents:
    """Read a checkpoint that is one file or several shards.

    Where shards disagree on a metadata entry, the first shard in alphabetical order wins. The entries of a record
    (`files/record.py`) are part of the metadata.

    Args:
        path: as for `checkpoint_files`.
        read: reads one file.

    Raises:
        DummyForcingError: a tensor is in two files, or `checkpoint_files` or `read_tensors` fails.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    origin: dict[str, Path] = {}
    for shard in checkpoint_files(path):
        found, facts = read(shard)
        for name in found.keys() & tensors.keys():
            raise DummyForcingError(
                f"{name!r} is in both {origin[name].name} and {shard.name} of {shard.parent}; "
                "leave one checkpoint in the folder or choose a single file"
            )
        tensors |= found
        metadata = facts | metadata
        origin |= dict.fromkeys(found, shard)
    return with_record(tensors, metadata)


def checkpoint_files(path: Path) -> list[Path]:
    """The files of a checkpoint: all of its shards, if it has several.

    Args:
        path: a file, any one of several shards, their `*.safetensors.index.json`, or a folder. In a folder without
            an index, all safetensors files except VAEs are taken.

    Raises:
        DummyForcingError: there is nothing to read, the index is bad, or a shard is missing.
    """
    if path.is_dir():
        shards = _shards(path)
    elif path.name.endswith(_INDEX_ENDING) and path.is_file():
        shards = _shards_of(path)
    else:
        shards = _siblings(path)
    missing = [shard.name for shard in shards if not shard.is_file()] if len(shards) > 1 else []
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DummyForcingError(
            f"{shards[0].parent} lacks {', '.join(missing[:_SHOWN])}{more} of the {len(shards)} shards of this "
            "checkpoint; download what is missing into the same folder"
        )
    return shards


def find_vaes(folder: Path) -> list[Path]:
    """Safetensors files in a folder that hold a Wan VAE, recognised by the names of their tensors."""
    return [path for path in _safetensors_in(folder) if looks_like_vae(tensor_names(path))]


def _tensors(file) -> dict[str, Tensor]:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def _with_file(path: Path, read: Callable[..., Read]) -> Read:
    with _explained(path), safe_open(path, framework="pt") as file:
        return read(file)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Check that there is a file, and turn errors of reading it into a DummyForcingError."""
    try:
        if path.is_dir():
            raise DummyForcingError(f"{path} is a folder; choose a {SUFFIX} file in the folder")
        if not path.is_file():
            raise DummyForcingError(f"there is no file {path}; check the path")
        yield
    except SafetensorError as error:
        raise DummyForcingError(why_no_safetensors(path, error)) from error
    except OSError as error:
        raise DummyForcingError(
            f"cannot read {path}: {error.strerror or error}; check the file's permissions and the disk"
        ) from error


def _shards(folder: Path) -> list[Path]:
    indices = _visible(folder, f"*{_INDEX_ENDING}")
    if len(indices) > 1:
        names = ", ".join(index.name for index in indices)
        raise DummyForcingError(f"{folder} has several checkpoints ({names}); leave one index in the folder")
    if indices:
        return _shards_of(indices[0])
    found = [path for path in _safetensors_in(folder) if not looks_like_vae(tensor_names(path))]
    if not found:
        raise DummyForcingError(
            f"{folder} has no {SUFFIX} file with a backbone; choose the checkpoint's folder or file"
        )
    return sorted({shard for path in found for shard in _counted(path)})


def _siblings(path: Path) -> list[Path]:
    """All shards of the checkpoint that a file is part of, by an index that lists it or by the file's name."""
    if not path.is_file():
        return [path]
    for index in _visible(path.parent, f"*{_INDEX_ENDING}"):
        try:
            shards = _shards_of(index)
        except DummyForcingError:  # this bad index may belong to another checkpoint
            continue
        if path in shards:
            return shards
    return _counted(path)


def _counted(path: Path) -> list[Path]:
    """All shards by the numbers in a file's name (three for `-00002-of-00003`); else the file alone."""
    found = _SHARD.match(path.name)
    if found is None:
        return [path]
    stem, digits, count, suffix = found[1], len(found[2]), found[3], found[4]
    numbers = range(1, min(int(count), _MOST_SHARDS) + 1)
    return [path.with_name(f"{stem}-{number:0{digits}}-of-{count}{suffix}") for number in numbers] or [path]


def _shards_of(index: Path) -> list[Path]:
    """The files that an index lists; it may list only files beside it."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DummyForcingError(
            f"{index} is not a shard index ({one_line(error)}); expected a JSON 'weight_map'; download the file "
            "again"
        ) from error
    for name in names:
        # The rules for Windows paths include those of POSIX: they know both separators and drive letters.
        if not isinstance(name, str) or PureWindowsPath(name).name != name or not name.endswith(SUFFIX):
            raise DummyForcingError(
                f"{index} names the shard {name!r}; expected a {SUFFIX} file beside it; download the file again"
            )
    if not names:
        raise DummyForcingError(f"{index} names no shards; download the checkpoint again")
    return [index.parent / name for name in sorted(names)]


def _safetensors_in(folder: Path) -> list[Path]:
    return _visible(folder, f"*{SUFFIX}")


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Matching files, sorted, without the hidden ones that file managers and downloads leave behind."""
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
