"""From command-line options to what a video keeps in memory and which passes it skips."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from ..core.checkpoints.family import Family
from ..core.checkpoints.running import family_memory, positions_for
from ..core.errors import DummyForcingError
from ..core.heads.forced import format_forced_roles, parse_forced_roles
from ..core.heads.profile import HeadProfile
from ..core.memory.config import KEEP_METHODS, MemoryConfig
from ..core.memory.dummy_forcing import DummyForcing
from ..core.memory.keep import KeepPolicy
from ..core.memory.merge import MergeMethod, Unmerged
from ..core.memory.profiled import with_profile
from ..core.memory.quantised_kv import QuantisedKV
from ..core.memory.rope import Absolute, Relative
from ..core.memory.temp_cache import TempCache
from ..core.stream.pass_skip import PassSkip, parse_passes
from .arguments import AUTO_ROPE, FAMILY_MEMORY, KV_FORMATS, TEMP_CACHE

UNMERGED = Unmerged()
_FORCING = "dummy-forcing"
_ROPES = {"absolute": Absolute(), "relative": Relative()}
_FORCING_OPTIONS = ("dummy_ratio", "local_context", "packed_frames", "classification_chunk", "cost")
_FORCED = "forced_roles"

# Policy as typed -> option as typed -> field of the policy.
_OPTIONS: dict[str, dict[str, str]] = {
    FAMILY_MEMORY: {},
    "dense": {},
    "window": {"sink": "sink", "window": "size"},
    "rolling-window": {"sink": "sink", "window": "size"},
    _FORCING: {name: name for name in _FORCING_OPTIONS} | {"force_roles": _FORCED},
}

# Option as typed -> field of `TempCache`.
_MERGE_OPTIONS = {
    "similarity": "similarity",
    "budget": "budget",
    "correspondence": "correspondence",
    "merged_values": "values",
}


def read_policy(args: argparse.Namespace) -> KeepPolicy | None:
    """The policy that the options and the head profile, if any, describe; None for the model family's own.

    Raises DummyForcingError for options of another policy or out of range, and for a damaged profile; whether the
    profile is the model's own can only be told once the model is open.
    """
    options = _typed_options(args)
    if args.policy != _FORCING and (args.profile or args.save_profile):
        name = "--profile" if args.profile else "--save-profile"
        raise DummyForcingError(f"{name} belongs to --policy {_FORCING}; leave it out or switch")
    if args.profile and args.save_profile:
        raise DummyForcingError("--save-profile saves what is measured, --profile measures nothing; leave one out")
    if _FORCED in options:
        options[_FORCED] = parse_forced_roles(options[_FORCED])
    if args.profile:
        options = with_profile(options, HeadProfile.load(args.profile))
    if args.policy == FAMILY_MEMORY:
        return None
    return KEEP_METHODS[args.policy.replace("-", "_")](**options)


def memory_for(keep: KeepPolicy | None, rope: str, family: Family, merge: MergeMethod = UNMERGED) -> MemoryConfig:
    """What a video of this family keeps, how and where; DummyForcingError for what does not fit together."""
    own = replace(family_memory(family), merge=merge)
    if keep is None:
        return own if rope == AUTO_ROPE else replace(own, rope=_ROPES[rope])
    return MemoryConfig(keep, _ROPES.get(rope) or positions_for(keep, family), merge)


def read_merge(args: argparse.Namespace) -> MergeMethod:
    """How kept frames are held; DummyForcingError for options that do not go together."""
    options = {field: getattr(args, option) for option, field in _MERGE_OPTIONS.items() if option in args}
    if args.merge == TEMP_CACHE:
        if args.kv != KV_FORMATS[0]:
            raise DummyForcingError(
                f"--merge {TEMP_CACHE} holds merged tokens in the model's own dtype; leave out --kv {args.kv} or it"
            )
        return TempCache(**options)
    if options:
        flag = "--" + next(option for option in _MERGE_OPTIONS if option in args).replace("_", "-")
        raise DummyForcingError(f"{flag} belongs to --merge {TEMP_CACHE}; leave it out or add that")
    return UNMERGED if args.kv == KV_FORMATS[0] else QuantisedKV(args.kv)


def check_classified(keep: KeepPolicy, latent_frames: int, chunk_frames: int, opening: int = 0) -> None:
    """Raise DummyForcingError if a video is too short for heads to be classified in it.

    opening: latent frames that it begins with.
    """
    least = (opening % chunk_frames or chunk_frames) + keep.classification_chunk * chunk_frames
    if latent_frames < least:
        raise DummyForcingError(
            f"{latent_frames} latent frames end before chunk {keep.classification_chunk}, in which heads are "
            f"classified; use --latents {least} or more"
        )


def read_skip(args: argparse.Namespace) -> PassSkip | None:
    """The passes to skip; None for none. Raises DummyForcingError for a list that cannot be.

    Whether the list fits the model's steps can only be told once the model is open.
    """
    if args.skip_passes is not None:
        return PassSkip(passes=parse_passes(args.skip_passes))
    return None if args.skip_threshold is None else PassSkip(threshold=args.skip_threshold)


def method_of(keep: DummyForcing, chunk_frames: int, text_tokens: int) -> dict[str, Any]:
    """How an online classification scored and programmed heads, and on what, for `HeadProfile.method`."""
    names = ("dummy_ratio", "cost", "classification_chunk", "row_fraction", "seed")
    return {
        **{name: getattr(keep, name) for name in names},
        "forced_roles": format_forced_roles(keep.forced_roles),
        "chunk_frames": chunk_frames,
        "text_tokens": text_tokens,
    }


def _typed_options(args: argparse.Namespace) -> dict[str, Any]:
    own = _OPTIONS[args.policy]
    for policy, options in _OPTIONS.items():
        stray = [option for option in options if option in args and option not in own]
        if stray:
            flag = "--" + stray[0].replace("_", "-")
            raise DummyForcingError(f"{flag} belongs to --policy {policy}; leave it out or switch")
    return {field: getattr(args, option) for option, field in own.items() if option in args}
