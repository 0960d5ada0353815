"""Why no tensors can be read from a file: what it is instead, or how much of it is missing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from ...stream.tally import format_bytes

SUFFIX = ".safetensors"
ZIP_MAGIC = b"PK\x03\x04"
CONVERT = "convert it with safetensors.torch.save_file(state_dict, path)"
_AGAIN = "download the file again"
_SNIFF_BYTES = 512
_LENGTH_BYTES = 8  # of the number before a safetensors header, which is the header's length
_LARGEST_HEADER = 100_000_000  # bytes, safetensors' own limit
_SHOWN = 120
_OTHER_FORMATS = (
    (ZIP_MAGIC, "is a PyTorch or zip file in spite of its name; let the name end in .pt instead of .safetensors"),
    (b"\x80", f"is a PyTorch file of the old kind, which can run code when opened; {CONVERT}"),
    (b"GGUF", "is a GGUF file; choose a safetensors version of the model"),
    (
        b"version https://git-lfs",
        "is a Git LFS pointer and not the file itself; fetch the file with 'git lfs pull'",
    ),
    (b"\x93NUMPY", "is a NumPy file; save the array with torch.save(torch.from_numpy(numpy.load(path)), 'new.pt')"),
)


def why_no_safetensors(path: Path, error: Exception) -> str:
    """A whole message that says why a file cannot be read as safetensors; may raise OSError.

    Args:
        error: what the reader raised.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_SNIFF_BYTES)
    if not head:
        return f"{path} is empty (0 bytes): its download failed; {_AGAIN}"
    if not head.strip(b"\0"):
        begun = format_bytes(size)
        return f"{path} begins with nothing but zeros ({begun}): its download is not finished; {_AGAIN}"
    if head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{":
        return f"{path} {_damage(path, size, error)}; {_AGAIN}"
    for magic, kind in _OTHER_FORMATS:
        if head.startswith(magic):
            return f"{path} {kind}"
    return f"{path} {_text_or_else(head, size, error)}"


def why_no_pickle(path: Path, error: Exception) -> str:
    """A whole message that says why a zip file cannot be read as PyTorch's; may raise OSError."""
    size = format_bytes(path.stat().st_size)
    if not zipfile.is_zipfile(path):  # a zip file's list of contents is at its end
        return f"{path} is cut short ({size} of it are there): its download broke off; {_AGAIN}"
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith("data.pkl") for name in archive.namelist()):
                return f"{path} is a zip archive and no PyTorch file; unpack the archive and choose the file in it"
    except zipfile.BadZipFile:
        pass  # damaged too: the message below says so
    return f"{path} is not a readable PyTorch file ({size}; {one_line(error)}): it is damaged; {_AGAIN}"


def one_line(error: Exception) -> str:
    """What an exception says, short and without line breaks."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _damage(path: Path, size: int, error: Exception) -> str:
    """What is wrong with a safetensors file, judged by the length that its header announces."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = file.read(min(length, _LARGEST_HEADER))
    end = _LENGTH_BYTES + length
    if len(header) == length:
        try:
            entries = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
            end += max(entry["data_offsets"][1] for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return f"is a damaged safetensors file ({one_line(error)})"
    if size < end:
        return f"is cut short: {format_bytes(size)} of {format_bytes(end)} are there"
    return f"is a damaged safetensors file ({one_line(error)})"


def _text_or_else(head: bytes, size: int, error: Exception) -> str:
    text = _as_text(head)
    if text is None:
        return f"is no file of tensors ({one_line(error)}); choose a .safetensors or .pt file"
    size = format_bytes(size)
    if text.startswith("<"):
        return (
            f"is a web page ({size}) and not the file itself: its download failed, often because the site asks to "
            f"log in or to accept a licence; {_AGAIN}, in a browser that is logged in"
        )
    shown = " ".join(text.split())[:40]
    return f"is a text ({size}, {shown!r}) and no file of tensors; if it was downloaded, {_AGAIN}"


def _as_text(head: bytes) -> str | None:
    """The head decoded, if it is the beginning of a text; None for anything else."""
    try:
        text = head.decode("utf-8-sig", "strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not just a character that the end of `head` cuts in two
            return None
        text = head[: error.start].decode("utf-8-sig", "ignore")
    text = text.strip()
    return text if text and all(each.isprintable() or each.isspace() for each in text) else None
