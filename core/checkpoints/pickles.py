"""Reading PyTorch's own files (.pt, .pth, .ckpt, .bin) without running the code that a pickle may hold."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .names import CONTAINERS

ZIP_MAGIC = b"PK\x03\x04"
CONVERT = "convert it with safetensors.torch.save_file(state_dict, path)"
_DEPTH = 4  # containers within containers; a pickle could also hold itself
_SHOWN = 120


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, as PyTorch files of today are; may raise OSError."""
    with path.open("rb") as file:
        return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a PyTorch file, memory-mapped, on the CPU.

    Trainers nest the weights in containers, which stay as the beginning of the names: Self-Forcing's
    `{"generator_ema": {"model.head.modulation": ...}}` gives `generator_ema.model.head.modulation`.

    Raises:
        DummyForcingError: damaged, with more than tensors in it, or without named tensors.
    """
    tensors = unwrap(_load(path))
    if not tensors:
        raise DummyForcingError(f"{path} holds no tensors by name; expected a state dict; choose a checkpoint")
    return tensors


def containers(path: Path) -> list[str]:
    """Names of the outermost entries of a PyTorch file; raises like `read_pickle`."""
    stored = _load(path)
    return [str(name) for name in stored] if isinstance(stored, Mapping) else []


def _load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise DummyForcingError(
            f"{path} is damaged or holds more than tensors, and opening such a pickle can run code; {CONVERT}"
        ) from error
    except Exception as error:  # a damaged file makes the reader stumble anywhere, over almost anything
        raise DummyForcingError(
            f"{path} is not a readable PyTorch file ({_one_line(error)}); download it again"
        ) from error


def unwrap(stored: object) -> dict[str, Tensor]:
    """Tensors by name out of nested containers, whose names come first, joined by dots.

    Where one level has several containers (weights and their average, a critic, an optimiser), the first of
    `CONTAINERS` is taken. What is no plain tensor is left out.
    """
    prefix = ""
    for _ in range(_DEPTH):
        inner = _container_in(stored)
        if inner is None:
            break
        prefix, stored = f"{prefix}{inner}.", stored[inner]
    items = stored.items() if isinstance(stored, Mapping) else ()
    return {prefix + name: value.detach() for name, value in items if isinstance(name, str) and _is_plain(value)}


def _container_in(stored: object) -> str | None:
    if not isinstance(stored, Mapping):
        return None
    return next((key for key in CONTAINERS if isinstance(stored.get(key), Mapping) and stored[key]), None)


def _is_plain(value: object) -> bool:
    """Not sparse, not quantised by PyTorch, not without data."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
