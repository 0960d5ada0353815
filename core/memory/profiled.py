"""Dummy Forcing with the roles of a head profile instead of online classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DummyForcingError
from ..heads.forced import merge_forced_roles
from ..heads.profile import HeadProfile, forced_in
from ..heads.programming import program_heads
from .dummy_forcing import DummyForcing


def with_profile(options: Mapping[str, Any], profile: HeadProfile) -> dict[str, Any]:
    """Add a profile's roles to options of `DummyForcing`.

    Ratio and cost default to the profile's, and roles that it forces are forced here too, unless the options force
    others on these heads. Its roles hold for all this, else they are programmed anew by its masses.

    Raises:
        DummyForcingError: the profile's own method makes no sense, or a role is forced on a head that it has not.
    """
    default = DummyForcing()
    measured = {name: profile.method.get(name, getattr(default, name)) for name in ("dummy_ratio", "cost")}
    wanted = {name: options.get(name, value) for name, value in measured.items()}
    theirs = forced_in(profile)
    forced = merge_forced_roles(theirs, options.get("forced_roles", ()))
    as_measured = wanted == measured and forced == theirs
    try:
        roles = profile.roles if as_measured else program_heads(profile.masses, **wanted, forced=forced)
        DummyForcing(**wanted)
    except TypeError as error:
        raise DummyForcingError(
            f"the head profile's method {profile.method} makes no sense ({error}); "
            "profile again with `dummy-forcing profile`"
        ) from error
    return {**options, **wanted, "forced_roles": forced, "roles": tuple(tuple(row) for row in roles.tolist())}
