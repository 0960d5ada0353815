"""The head map: what a browser needs to draw layers x heads and to predict what other settings would keep and cost.

web/PROTOCOL.md says how a browser computes with it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..wan.cost import pass_cost
from ..wan.shape import TEXT_TOKENS, WanShape
from .forced import ForcedRoles, format_forced_roles
from .profile import HeadProfile

Origin = Literal["measured", "profile", "video", "saved"]
"""Measured by Profile Dummy Heads, given to a patch, measured while a video was made, or read from a file."""

USUAL_CHUNK, USUAL_LATENTS = 3, 21
"""Latent frames of a chunk and of a video, where nothing says otherwise."""

MOST_HEADS = 16384
MOST_NAME = 120  # characters
_DIGITS = 6


class MapSettings(Protocol):
    """The settings of the `DummyForcing` that a map's roles were used under."""

    @property
    def dummy_ratio(self) -> float: ...
    @property
    def cost(self) -> str: ...
    @property
    def forced_roles(self) -> ForcedRoles: ...
    @property
    def local_context(self) -> int | None: ...
    @property
    def packed_frames(self) -> int: ...


@dataclass(frozen=True)
class MapCosts:
    """Where memory and arithmetic are compared: in the last chunk of a video of `latent_frames`.

    A pass over it takes fixed_flops + flops_per_key_frame * (latent frames that a head reads, mean over heads).
    """

    chunk_frames: int
    latent_frames: int
    fixed_flops: float
    flops_per_key_frame: float

    @classmethod
    def of(
        cls,
        shape: WanShape,
        tokens_per_frame: int,
        chunk_frames: int,
        latent_frames: int = USUAL_LATENTS,
        text_tokens: int = TEXT_TOKENS,
    ) -> MapCosts:
        """The costs of a model; the video is cut to whole chunks."""
        tokens = chunk_frames * tokens_per_frame
        return cls(
            chunk_frames,
            max(chunk_frames, latent_frames - latent_frames % chunk_frames),
            float(pass_cost(shape, tokens, text_tokens, 0).total),
            float(pass_cost(shape, tokens, text_tokens, tokens_per_frame).self_attention),
        )

    @classmethod
    def of_profile(cls, profile: HeadProfile, latent_frames: int = USUAL_LATENTS) -> MapCosts:
        """The costs of the model and the picture size that a profile was measured on.

        Raises DummyForcingError if the profile, which may come from anywhere, does not hold them.
        """
        sizes = [profile.method.get("chunk_frames", USUAL_CHUNK), profile.method.get("text_tokens", TEXT_TOKENS)]
        numbers = [*sizes, *profile.shape.values(), *profile.latent_size]
        if not all(isinstance(number, int) and 0 < number < 2**31 for number in numbers):
            raise DummyForcingError(f"the head profile is damaged: its sizes are {numbers}; profile again")
        try:
            shape = WanShape.from_dict(profile.shape)
        except TypeError as error:
            raise DummyForcingError(f"the head profile is damaged ({error}); profile again") from error
        if (shape.layers, shape.heads) != tuple(profile.roles.shape):
            raise DummyForcingError(
                f"the head profile is damaged: it has roles of {tuple(profile.roles.shape)} layers x heads for a "
                f"model of {shape.layers} x {shape.heads}; profile again"
            )
        return cls.of(shape, shape.tokens_per_frame(*profile.latent_size), sizes[0], latent_frames, sizes[1])


@dataclass(frozen=True, eq=False)
class HeadMap:
    """Heads as they were measured and used once.

    name: of what they were measured on, in words; may be empty. masses: fp32 [layers, heads, 3]; roles: int64
    [layers, heads]. inherited: the forced roles that came with a profile; they hold unless others are forced on
    these heads.

    Raises DummyForcingError for masses that are not finite and for more heads than can be drawn.
    """

    origin: Origin
    name: str
    masses: Tensor
    roles: Tensor
    settings: MapSettings
    costs: MapCosts
    inherited: ForcedRoles = ()

    def __post_init__(self) -> None:
        if not torch.isfinite(self.masses).all():
            raise DummyForcingError("the attention masses of these heads are not finite; profile again")
        if self.roles.numel() > MOST_HEADS:
            raise DummyForcingError(f"{self.roles.numel()} heads are too many for a map; {MOST_HEADS} can be drawn")

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form, masses with 6 significant digits."""
        settings = self.settings
        return {
            "origin": self.origin,
            "name": " ".join(self.name.split())[:MOST_NAME],
            "masses": [[[_rounded(mass) for mass in head] for head in layer] for layer in self.masses.tolist()],
            "roles": self.roles.tolist(),
            "settings": {
                "dummy_ratio": settings.dummy_ratio,
                "cost": settings.cost,
                "forced_roles": format_forced_roles(settings.forced_roles),
                "inherited_roles": format_forced_roles(self.inherited),
                "local_context": settings.local_context,
                "packed_frames": settings.packed_frames,
            },
            "costs": asdict(self.costs),
        }


def _rounded(mass: float) -> float:
    return float(f"{mass:.{_DIGITS}g}")
