"""Measuring a head profile: recording masses while dense videos are made, and making the profile from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .forced import ForcedRoles, format_forced_roles
from .profile import HeadProfile, forced_in
from .programming import Cost, program_heads
from .recorder import MassRecorder
from .stability import stability

ROW_FRACTION = 0.25
ROW_SEED = 0


@dataclass(frozen=True)
class MeasuredOn:
    """The model and the videos of a profile; fields as in `HeadProfile`, `sigmas` are the passes' noise levels.

    chunk_frames: latent frames denoised together; text_tokens: of a prompt, as cross-attention reads them.
    """

    fingerprint: str
    shape: dict[str, Any]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    latent_size: tuple[int, int]
    latent_frames: int
    chunk_frames: int
    text_tokens: int
    sigmas: tuple[float, ...]


def profile_recorder(layers: int) -> MassRecorder:
    """Records all passes of all chunks but the first, which has no history; clear it between videos."""
    return MassRecorder(layers, row_fraction=ROW_FRACTION, seed=ROW_SEED, wants=lambda clock: clock.start_frame > 0)


def recorded_samples(recorder: MassRecorder) -> Tensor:
    """Masses [chunks, passes, layers, heads, 3] of the first batch item of the video just made."""
    chunks = sorted({chunk for chunk, _ in recorder.recorded})
    passes = sorted({index for _, index in recorder.recorded})
    return torch.stack([torch.stack([recorder.masses(c, p)[0] for p in passes]) for c in chunks])


def make_profile(
    samples: Sequence[Tensor], on: MeasuredOn, dummy_ratio: float, cost: Cost, forced: ForcedRoles = ()
) -> HeadProfile:
    """A profile from the samples of each video.

    Roles follow from the clean pass's masses, averaged over videos and chunks; online classification uses the clean
    pass too.
    """
    stacked = torch.stack(list(samples))
    masses = stacked[:, :, -1].mean(dim=(0, 1))
    return HeadProfile(
        fingerprint=on.fingerprint,
        shape=on.shape,
        prompts=on.prompts,
        seeds=on.seeds,
        latent_size=on.latent_size,
        method={
            "dummy_ratio": dummy_ratio,
            "cost": cost,
            "forced_roles": format_forced_roles(forced),
            "masses": "mean over prompts, seeds and chunks from 1 of the clean pass",
            "row_fraction": ROW_FRACTION,
            "latent_frames": on.latent_frames,
            "chunk_frames": on.chunk_frames,
            "text_tokens": on.text_tokens,
            "sigmas": on.sigmas,
        },
        masses=masses,
        roles=program_heads(masses, dummy_ratio, cost, forced),
        samples=stacked,
    )


def core_set_ratios(profile: HeadProfile) -> dict[str, float | None]:
    """`stability` of the dummy set; None along an axis of length 1, which says nothing."""
    method = profile.method
    ratios = stability(profile.samples, method["dummy_ratio"], method["cost"], forced_in(profile))
    told = [length > 1 for length in profile.samples.shape[: len(ratios)]]
    return {name: ratio if tells else None for (name, ratio), tells in zip(ratios.items(), told, strict=True)}


def describe_ratios(ratios: dict[str, float | None]) -> str:
    """`core_set_ratios` in one line."""
    parts = (f"{name} {'-' if ratio is None else f'{ratio:.2f}'}" for name, ratio in ratios.items())
    return f"dummy heads in common (core-set ratio) over {', '.join(parts)}"
