"""Facts about a checkpoint without loading its weights: family, sizes, licence, and what it still needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import DummyForcingError
from ..kv_forecast import forecast_kv
from ..stream.config import StreamConfig
from ..video import PIXELS_PER_LATENT
from .core_comfyui import CAUSAL, loaded_as
from .families.detect_family import choose_family
from .families.family import Family
from .families.running import family_loop, family_memory
from .families.table import AUTO
from .files.checkpoint_files import checkpoint_files, find_vaes, read_checkpoint
from .layouts.normal import NormalBackbone, normalise
from .lora.lora_rules import merged_already
from .opened import shown_name

_KV_DTYPE = torch.bfloat16  # of a stream on a GPU
_TOY = "toy-world"
_VAE = "the Wan 2.1 VAE (wan_2.1_vae.safetensors)"
_TEXT_ENCODER = "the text encoder umT5-XXL (umt5_xxl_fp8_e4m3fn_scaled.safetensors), or its output for a prompt"


@dataclass(frozen=True)
class KVFacts:
    """Keys and values of a video at the family's own size, length and memory, in bfloat16."""

    latent_frames: int
    pixel_size: tuple[int, int]
    peak_bytes: int


@dataclass(frozen=True)
class CheckpointFacts:
    """Facts about a backbone's file.

    Attributes:
        files, file_bytes: the number of files and their total size.
        layout: what had to be adapted to read the file, for people.
        family: None if it cannot be recognised.
        reason: why this family, or why none was recognised; without a full stop.
        merged: the sign that the family's LoRA is already part of the file; None if there is no sign.
        shape: sizes of the backbone (`WanShape.to_dict`).
        tensors, parameters: the number of each.
        dtypes: the number of parameters of each type.
        missing: what a video needs besides the file.
        comfyui: what ComfyUI's own loader makes of the file, without this pack.
        kv: predicted KV memory; None without a family.
    """

    path: str
    files: int
    file_bytes: int
    layout: tuple[str, ...]
    family: Family | None
    reason: str
    merged: str | None
    shape: dict[str, int]
    tensors: int
    parameters: int
    dtypes: dict[str, int]
    missing: tuple[str, ...]
    comfyui: str
    kv: KVFacts | None

    @property
    def is_causal_in_comfyui(self) -> bool:
        return self.comfyui == CAUSAL

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; the family as its row of the table."""
        return asdict(self)


def inspect_checkpoint(path: Path, family: str = AUTO) -> CheckpointFacts:
    """Read a checkpoint's names and sizes, not its weights.

    Args:
        path: as for `checkpoint_files`.
        family: name of a family, or "auto" to recognise it from the checkpoint.

    Raises:
        DummyForcingError: the file is unreadable or no complete Wan 2.1 text-to-video model. An unrecognised family
            and a missing LoRA are reported as facts, not raised as errors.
    """
    files = checkpoint_files(path)
    tensors, metadata = read_checkpoint(path)
    normal = normalise(tensors, metadata, f"the backbone {path}")
    name = shown_name(path)
    row, reason = _family(family, name, tuple(tensors), normal, metadata)
    wrapped = normal.wrapped is not None
    merged = merged_already(row, name, metadata, wrapped) if row else None
    dtypes: Counter[str] = Counter()
    for value in normal.state.values():
        dtypes[str(value.dtype).removeprefix("torch.")] += value.numel()
    return CheckpointFacts(
        path=str(path),
        files=len(files),
        file_bytes=sum(file.stat().st_size for file in files),
        layout=normal.notes,
        family=row,
        reason=reason,
        merged=merged,
        shape=normal.shape.to_dict(),
        tensors=len(normal.state),
        parameters=dtypes.total(),
        dtypes=dict(dtypes),
        missing=_missing(path, row, merged),
        comfyui=loaded_as(path, tensors, metadata, len(files)),
        kv=None if row is None else _forecast(row, normal),
    )


def _family(
    chosen: str, name: str, names: tuple[str, ...], normal: NormalBackbone, metadata: dict[str, str]
) -> tuple[Family | None, str]:
    try:
        found = choose_family(chosen, name, names, normal.shape, metadata)
    except DummyForcingError as error:
        if chosen != AUTO:
            raise
        return None, error.message
    return found.family, found.reason


def _missing(path: Path, family: Family | None, merged: str | None) -> tuple[str, ...]:
    if family is not None and family.name == _TOY:
        return ()
    missing = []
    if family is not None and family.lora is not None and not merged:
        missing.append(f"its LoRA {family.lora.file!r} ({family.lora.source})")
    if not (path.is_dir() and find_vaes(path)):
        missing.append(_VAE)
    return (*missing, _TEXT_ENCODER)


def _forecast(family: Family, normal: NormalBackbone) -> KVFacts:
    config = StreamConfig(
        sigmas=family.sigmas,
        chunk_frames=family.chunk_frames,
        total_frames=family.latent_frames,
        latent_size=(family.pixel_size[0] // PIXELS_PER_LATENT, family.pixel_size[1] // PIXELS_PER_LATENT),
        memory=family_memory(family),
        **family_loop(family).options(family.sigmas),
    )
    wan = normal.shape
    video = config.video_shape(wan.layers, wan.heads, head_dim=wan.head_dim, dtype=_KV_DTYPE)
    forecast = forecast_kv(config.memory, video)
    return KVFacts(family.latent_frames, family.pixel_size, forecast.peak_bytes)
