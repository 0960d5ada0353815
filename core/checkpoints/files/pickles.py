"""Reading PyTorch's own files (.pt, .pth, .ckpt, .bin) without running the code that a pickle may hold."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...errors import DummyForcingError
from .containers import find_weights, is_plain
from .unreadable import CONVERT, SUFFIX, ZIP_MAGIC, why_no_pickle

CHOICE_KEY = "dummy_forcing.choice"
"""Metadata entry that says where in the file the weights lay."""

_FOREIGN = re.compile(r"GLOBAL ([\w.]+)")  # in PyTorch's message about an object that is no tensor

_DEPTH = 4  # levels of lists and mappings that are searched for tensors

logger = logging.getLogger("dummy_forcing")


def read_pickle(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the weights of a PyTorch file, memory-mapped, on the CPU.

    Trainers nest the weights in containers (`containers`), which stay as the beginning of the names: Self-Forcing's
    `{"generator_ema": {"model.head.modulation": ...}}` gives `generator_ema.model.head.modulation`.

    Returns:
        Tensors by name, and metadata, which has an entry `CHOICE_KEY` if there was a choice (`Weights.choice`).

    Raises:
        DummyForcingError: the file is damaged, holds more than tensors, or has no named tensors.
    """
    stored = _load(path)
    found = find_weights(stored, str(path))
    if not found.tensors:
        raise DummyForcingError(
            f"{path} holds no tensors by name but {_shortly(stored)}; expected the state dict of a model; choose a "
            "checkpoint"
        )
    if not found.choice:
        return found.tensors, {}
    logger.info("%s: %s", path.name, found.choice)
    return found.tensors, {CHOICE_KEY: found.choice}


def read_loose_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a PyTorch file, by the path of keys and indices that leads to them.

    `[tensor, {"context": [tensor]}]` gives "0" and "1.context.0"; a lone tensor has the name "".

    Raises:
        DummyForcingError: the file is damaged or holds more than tensors.
    """
    found: dict[str, Tensor] = {}
    level: list[tuple[str, object]] = [("", _load(path))]
    for _ in range(_DEPTH):
        deeper: list[tuple[str, object]] = []
        for name, value in level:
            if is_plain(value):
                found[name] = value.detach()
            inner = value.items() if isinstance(value, Mapping) else enumerate(value) if _is_list(value) else ()
            deeper += [(f"{name}.{key}" if name else str(key), each) for key, each in inner]
        level = deeper
    return found


def is_pickle(path: Path) -> bool:
    """Whether to read a file as PyTorch's: whether it is a zip archive, as these files are today.

    May raise OSError.
    """
    if path.suffix.lower() == SUFFIX:  # PyTorch would read a file with this ending as safetensors
        return False
    with path.open("rb") as file:
        return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC


def containers(path: Path) -> list[str]:
    """Names of the outermost entries of a PyTorch file; raises like `read_pickle`."""
    stored = _load(path)
    return [str(name) for name in stored] if isinstance(stored, Mapping) else []


def _load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = _FOREIGN.search(str(error))
        raise DummyForcingError(
            f"{path} holds more than tensors{f' ({foreign[1]})' if foreign else ', or is damaged'}, and opening "
            f"such a pickle can run code; {CONVERT}"
        ) from error
    except Exception as error:  # on a damaged file the reader can fail anywhere, with almost any exception
        raise DummyForcingError(why_no_pickle(path, error)) from error


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _shortly(stored: object) -> str:
    """What a file holds instead of named tensors, in a few words for people."""
    if isinstance(stored, Tensor):
        return f"one tensor {list(stored.shape)}"
    return f"a {type(stored).__name__}" + (
        f" of {len(stored)}" if _is_list(stored) or isinstance(stored, Mapping) else ""
    )
