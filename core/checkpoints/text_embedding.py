"""Reading text embeddings: a text encoder's output for a prompt, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .files.checkpoint_files import read_loose
from .files.kinds import kind_of

EMBEDDING_KEYS = ("context", "prompt_embeds")
_EXPECTED = (
    "an embedding file, .safetensors or .pt, holds the output of Wan's text encoder (umT5-XXL) for one prompt, "
    f"[tokens, channels] or [1, tokens, channels], alone or as {' or '.join(map(repr, EMBEDDING_KEYS))}"
)


def load_text_embedding(path: Path) -> Tensor:
    """Load a text encoder's output, [1, L, text_dim] fp32 on the CPU.

    The embedding is the tensor 'context' or 'prompt_embeds', or the file's only floating-point tensor. A batch
    dimension is added to [L, text_dim]. In a PyTorch file the tensor may also have no name: it may be alone, as
    encoders return it, or in lists, as in ComfyUI's conditioning.

    Raises:
        DummyForcingError: the file is unreadable or ambiguous, or the embedding has another shape, NaN or infinite
            numbers.
    """
    stored = _choose(_read(path), path)
    embedding = stored.to(torch.float32, copy=True)  # a copy, independent of the memory-mapped file
    if embedding.ndim == 2:
        embedding = embedding[None]
    if embedding.ndim != 3 or embedding.shape[0] != 1 or 0 in embedding.shape:
        raise DummyForcingError(f"the text embedding {path} has the shape {list(stored.shape)}; {_EXPECTED}")
    if not embedding.isfinite().all():
        raise DummyForcingError(f"the text embedding {path} has NaN or infinite numbers; encode the prompt again")
    return embedding


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        return read_loose(path)
    except DummyForcingError as error:
        if not path.is_file():
            raise
        raise DummyForcingError(f"{error.message}; {_EXPECTED}") from error


def _choose(tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    floats = {name: value for name, value in tensors.items() if value.is_floating_point()}
    chosen = [name for name in floats if not set(EMBEDDING_KEYS).isdisjoint(name.split("."))] or list(floats)
    if len(chosen) == 1:
        return floats[chosen[0]]
    kind = kind_of(tensors)
    if kind is not None:
        raise DummyForcingError(f"{path} is {kind} and no text embedding; {_EXPECTED}")
    raise DummyForcingError(
        f"cannot tell which of the {len(chosen)} floating-point tensors of {path} is the text embedding; "
        f"{_EXPECTED}"
    )
