"""Dummy Forcing with the roles of a head profile instead of online classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import DummyForcingError
from ...heads.forced import merge_forced_roles
from ...heads.profile import HeadProfile, forced_in
from ...heads.programming import program_heads
from . import DummyForcing


def with_profile(options: Mapping[str, Any], profile: HeadProfile) -> dict[str, Any]:
    """Add a profile's roles to options of `DummyForcing`.

    Ratio and cost default to the profile's, and roles forced in the profile stay forced unless the options force
    others on these heads. If ratio, cost and forced roles are then the profile's, its roles are used as they are;
    otherwise heads are programmed again from its masses.

    Raises:
        DummyForcingError: the profile's own method makes no sense, or a forced role is for a head that the model
            does not have.
    """
    default = DummyForcing()
    measured = {name: profile.method.get(name, getattr(default, name)) for name in ("dummy_ratio", "cost")}
    wanted = {name: options.get(name, value) for name, value in measured.items()}
    theirs = forced_in(profile)
    forced = merge_forced_roles(theirs, options.get("forced_roles", ()))
    as_measured = wanted == measured and forced == theirs
    try:
        DummyForcing(**wanted)
        roles = profile.roles if as_measured else program_heads(profile.masses, **wanted, forced=forced)
    except TypeError as error:
        raise _makes_no_sense(profile, error) from error
    except DummyForcingError as error:
        if wanted != measured:  # what was asked for, not what the profile says
            raise
        raise _makes_no_sense(profile, error) from error
    return {**options, **wanted, "forced_roles": forced, "roles": tuple(tuple(row) for row in roles.tolist())}


def _makes_no_sense(profile: HeadProfile, error: Exception) -> DummyForcingError:
    return DummyForcingError(
        f"the head profile's method {profile.method} makes no sense ({error}); "
        "profile again with `dummy-forcing profile`"
    )
