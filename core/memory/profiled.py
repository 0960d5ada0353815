"""Dummy Forcing with the roles of a head profile instead of online classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DummyForcingError
from ..heads.profile import HeadProfile
from ..heads.programming import program_heads
from .dummy_forcing import DummyForcing


def with_profile(options: Mapping[str, Any], profile: HeadProfile) -> dict[str, Any]:
    """Add a profile's roles to options of `DummyForcing`.

    Ratio and cost default to the profile's. Its roles hold for these, else they are programmed anew by its masses.

    Raises:
        DummyForcingError: the profile's own method makes no sense.
    """
    default = DummyForcing()
    measured = {name: profile.method.get(name, getattr(default, name)) for name in ("dummy_ratio", "cost")}
    wanted = {name: options.get(name, value) for name, value in measured.items()}
    try:
        roles = profile.roles if wanted == measured else program_heads(profile.masses, **wanted)
        DummyForcing(**wanted)
    except TypeError as error:
        raise DummyForcingError(
            f"the head profile's method {profile.method} makes no sense ({error}); "
            "profile again with `dummy-forcing profile`"
        ) from error
    return {**options, **wanted, "roles": tuple(tuple(row) for row in roles.tolist())}
