"""Writing safetensors files one tensor after the other; the writer of safetensors 0.8 needs memory for two copies.

Format: https://huggingface.co/docs/safetensors, "Format": eight bytes of length, a JSON header, the data.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Size, Tensor

from ...errors import DummyForcingError
from ...files import replaced_file
from .mapped import let_go

_ALIGNMENT = 8
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}

Entry = tuple[torch.dtype, Size]


def write_tensors(
    path: Path, entries: Mapping[str, Entry], make: Callable[[str], Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file: either completely, or not at all.

    Args:
        entries: type and shape of every tensor by name.
        make: returns the tensor of a name, on the CPU. It is called once per name, so it may drop what it
            has returned.
        metadata: of the file.

    Raises:
        DummyForcingError: the format does not have a tensor's type, or the file cannot be written.
    """
    # As the library orders them: wide types first, so that everything is aligned.
    names = sorted(entries, key=lambda name: (-entries[name][0].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        dtype, shape = entries[name]
        if dtype not in _TYPES:
            raise DummyForcingError(f"{name!r} is {dtype}, which a safetensors file cannot hold; choose a --dtype")
        begin, end = end, end + shape.numel() * dtype.itemsize
        header[name] = {"dtype": _TYPES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with replaced_file(path) as draft, draft.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            value = make(name)
            _write(file, value, entries[name], name)
            let_go(value)


def _write(file: BinaryIO, value: Tensor, entry: Entry, name: str) -> None:
    if (value.dtype, value.shape) != entry:
        raise ValueError(f"{name!r} is {value.dtype} {list(value.shape)}, announced as {entry[0]} {list(entry[1])}")
    value = value.contiguous()
    if value.nbytes:
        file.write(memoryview((ctypes.c_char * value.nbytes).from_address(value.data_ptr())))
