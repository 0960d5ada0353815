"""The head profile: scores and roles of one model, measured offline, in a safetensors file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..errors import DummyForcingError
from ..files import write_file
from .forced import ForcedRoles, parse_forced_roles
from .roles import HeadRole

FORMAT = "dummy_forcing.head_profile"
VERSION = 1
_TENSORS = frozenset({"masses", "roles", "samples"})
_AGAIN = "profile again with `dummy-forcing profile`"


@dataclass(frozen=True, eq=False)
class HeadProfile:
    """Head roles of one model and what they were measured on.

    fingerprint: of the model, see `model_fingerprint`. shape: its backbone shape, JSON-able. prompts, seeds:
    the videos generated. latent_size: (height, width) of the latents. method: how heads were scored and
    programmed (dummy_ratio, cost, classification chunk, row fraction, ...), JSON-able.
    masses: fp32 [layers, heads, 3], roles: int64 [layers, heads], on the CPU. samples: fp32
    [prompts x seeds, chunks, passes, layers, heads, 3] for `stability`, or None.

    Raises DummyForcingError when the tensors do not fit each other.
    """

    fingerprint: str
    shape: dict[str, Any]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    latent_size: tuple[int, int]
    method: dict[str, Any]
    masses: Tensor
    roles: Tensor
    samples: Tensor | None = None

    def __post_init__(self) -> None:
        tensors = {"masses": (self.masses, torch.float32), "roles": (self.roles, torch.int64)}
        if self.samples is not None:
            tensors["samples"] = (self.samples, torch.float32)
        for name, (tensor, dtype) in tensors.items():
            if tensor.dtype.is_floating_point != dtype.is_floating_point:
                raise DummyForcingError(f"head profile: {name} are {tensor.dtype}, expected {dtype}")
            object.__setattr__(self, name, tensor.detach().to("cpu", dtype).contiguous())
        _check_shapes(self.masses, self.roles, self.samples)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile; on failure the file is left as it was before.

        Makes missing folders. Raises DummyForcingError when the file cannot be written.
        """
        tensors = {"masses": self.masses, "roles": self.roles}
        if self.samples is not None:
            tensors["samples"] = self.samples
        facts = {
            "fingerprint": self.fingerprint,
            "shape": self.shape,
            "prompts": self.prompts,
            "seeds": self.seeds,
            "latent_size": self.latent_size,
            "method": self.method,
        }
        metadata = {"format": FORMAT, "version": str(VERSION), "profile": json.dumps(facts, sort_keys=True)}
        write_file(Path(path), to_bytes(tensors, metadata))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        fingerprint: str | None = None,
        shape: tuple[int, int] | None = None,
    ) -> HeadProfile:
        """Read a profile; with `fingerprint` or `shape` (layers, heads), only if it is of that model.

        Raises DummyForcingError for a file that is missing, damaged, of another format or version,
        inconsistent, or measured on another model.
        """
        profile = _from_parts(cls, *_read(Path(path)), path)
        found = tuple(profile.roles.shape)
        if shape is not None and found != tuple(shape):
            raise DummyForcingError(
                f"{path} is for a model of {found[0]} layers x {found[1]} heads, this one has "
                f"{shape[0]} x {shape[1]}; choose this model's profile or {_AGAIN}."
            )
        if fingerprint is not None and profile.fingerprint != fingerprint:
            raise DummyForcingError(
                f"{path} is for model {profile.fingerprint}, this one is {fingerprint}; "
                f"choose this model's profile or {_AGAIN}."
            )
        return profile


def forced_in(profile: HeadProfile) -> ForcedRoles:
    """The roles that were set by hand when a profile was made; none in old files, which did not record them.

    Raises DummyForcingError if they are not valid.
    """
    text = profile.method.get("forced_roles", "")
    if not isinstance(text, str):
        raise DummyForcingError(f"the head profile's forced roles are {text!r}, which makes no sense; {_AGAIN}.")
    return parse_forced_roles(text)


def model_fingerprint(shape_fields: dict[str, Any], vectors: Mapping[str, Tensor]) -> str:
    """Identity of a model: 16 hex digits of a SHA-256 over its shape and some small vectors (modulations).

    Vectors enter by name, shape and value rounded to bf16, so that casting a checkpoint from fp32 to bf16
    keeps the fingerprint. (A cast to fp16 rounds twice and may change it.) Order does not matter.
    """
    digest = hashlib.sha256(_canonical(shape_fields))
    for name in sorted(vectors):
        rounded = vectors[name].detach().to(torch.bfloat16).cpu().reshape(-1)
        digest.update(_canonical([name, list(vectors[name].shape)]))
        digest.update(rounded.view(torch.int16).numpy().astype("<i2").tobytes())
    return digest.hexdigest()[:16]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _check_shapes(masses: Tensor, roles: Tensor, samples: Tensor | None) -> None:
    shapes = {"masses": tuple(masses.shape), "roles": tuple(roles.shape)}
    fits = roles.ndim == 2 and masses.shape == (*roles.shape, 3)
    if samples is not None:
        shapes["samples"] = tuple(samples.shape)
        fits = fits and samples.ndim == 6 and samples.shape[3:] == masses.shape
    if not fits:
        raise DummyForcingError(f"head profile: tensor shapes do not fit each other: {shapes}")
    if roles.numel() and not 0 <= int(roles.min()) <= int(roles.max()) < len(HeadRole):
        raise DummyForcingError(f"head profile: roles must be 0 to {len(HeadRole) - 1}")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise DummyForcingError(f"There is no head profile {path}; choose an existing file or {_AGAIN}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(metadata, path)  # before any tensor is read: the wrong file may be a whole model
            names = _TENSORS.intersection(file.keys())
            # Cloned: the tensors would otherwise live in the mapped file, which may be overwritten.
            return metadata, {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError) as error:
        raise DummyForcingError(f"{path} is not a readable safetensors file ({error}); {_AGAIN}.") from error


def _check_format(metadata: dict[str, str], path: Path) -> None:
    if metadata.get("format") != FORMAT:
        raise DummyForcingError(f"{path} is not a head profile; choose one or {_AGAIN}.")
    if metadata.get("version") != str(VERSION):
        raise DummyForcingError(
            f"{path} is a head profile of version {metadata.get('version')}, this pack reads {VERSION}; {_AGAIN}."
        )


def _from_parts(
    cls: type[HeadProfile], metadata: dict[str, str], tensors: dict[str, Tensor], path: str | os.PathLike[str]
) -> HeadProfile:
    try:
        facts = json.loads(metadata["profile"])
        height, width = facts["latent_size"]
        return cls(
            fingerprint=str(facts["fingerprint"]),
            shape=dict(facts["shape"]),
            prompts=tuple(str(prompt) for prompt in facts["prompts"]),
            seeds=tuple(int(seed) for seed in facts["seeds"]),
            latent_size=(int(height), int(width)),
            method=dict(facts["method"]),
            masses=tensors["masses"],
            roles=tensors["roles"],
            samples=tensors.get("samples"),
        )
    except DummyForcingError as error:
        raise DummyForcingError(f"{path}: {error.message}; {_AGAIN}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DummyForcingError(f"{path} is a damaged head profile ({error!r}); {_AGAIN}.") from error
