"""From command-line options to what a video keeps in memory and which passes it skips."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from ..core.checkpoints.families.family import Family
from ..core.checkpoints.families.running import family_memory, positions_for
from ..core.errors import DummyForcingError
from ..core.heads.forced import format_forced_roles
from ..core.heads.profile import HeadProfile
from ..core.memory_config import MemoryConfig
from ..core.methods.base import KeepMethod, MergeMethod
from ..core.methods.dummy_forcing import DummyForcing
from ..core.methods.dummy_forcing.profiled import with_profile
from ..core.methods.pass_skip import PassSkip
from ..core.methods.plain import Unmerged
from ..core.methods.positions import Absolute, Relative
from .arguments import AUTO_ROPE, MERGE, POLICY
from .method_options import read_method, typed_values

UNMERGED = Unmerged()
_FORCING = "dummy-forcing"
_ROPES = {"absolute": Absolute(), "relative": Relative()}


def read_policy(args: argparse.Namespace) -> KeepMethod | None:
    """The policy that the options and the head profile, if any, describe; None for the model family's own.

    Raises DummyForcingError for options of another policy or out of range, and for a damaged profile; whether the
    profile is the model's own can only be told once the model is open.
    """
    if args.policy != _FORCING and (args.profile or args.save_profile):
        name = "--profile" if args.profile else "--save-profile"
        raise DummyForcingError(f"{name} belongs to --policy {_FORCING}; leave it out or choose that policy")
    if args.profile and args.save_profile:
        raise DummyForcingError("--save-profile saves what is measured, --profile measures nothing; leave one out")
    keep = read_method(args, "keep", POLICY)
    if not args.profile:
        return keep
    return DummyForcing(**with_profile(typed_values(args, DummyForcing), HeadProfile.load(args.profile)))


def memory_for(keep: KeepMethod | None, rope: str, family: Family, merge: MergeMethod = UNMERGED) -> MemoryConfig:
    """What a video of this family keeps, how and at which positions; DummyForcingError for what does not fit."""
    own = replace(family_memory(family), merge=merge)
    if keep is None:
        return own if rope == AUTO_ROPE else replace(own, rope=_ROPES[rope])
    return MemoryConfig(keep, _ROPES.get(rope) or positions_for(keep, family), merge)


def read_merge(args: argparse.Namespace) -> MergeMethod:
    """How kept frames are held; DummyForcingError for options that do not go together."""
    return read_method(args, "merge", MERGE)


def check_classified(keep: KeepMethod, latent_frames: int, chunk_frames: int, opening: int = 0) -> None:
    """Raise DummyForcingError if a video is too short for heads to be classified in it.

    opening: given latent frames that the video begins with.
    """
    least = (opening % chunk_frames or chunk_frames) + keep.classification_chunk * chunk_frames
    if latent_frames < least:
        raise DummyForcingError(
            f"{latent_frames} latent frames end before chunk {keep.classification_chunk}, in which heads are "
            f"classified; use --latents {least} or more"
        )


def read_skip(args: argparse.Namespace) -> PassSkip | None:
    """The passes to skip; None for none. Raises DummyForcingError for an invalid list.

    Whether the list fits the model's steps can only be told once the model is open.
    """
    return read_method(args, "passes")


def method_of(keep: DummyForcing, chunk_frames: int, text_tokens: int) -> dict[str, Any]:
    """How an online classification scored and programmed heads, and on what, for `HeadProfile.method`."""
    names = ("dummy_ratio", "cost", "classification_chunk", "row_fraction", "seed")
    return {
        **{name: getattr(keep, name) for name in names},
        "forced_roles": format_forced_roles(keep.forced_roles),
        "chunk_frames": chunk_frames,
        "text_tokens": text_tokens,
    }
