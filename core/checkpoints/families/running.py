"""How a family is run: memory, positions and loop that its row of the table stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...memory_config import MemoryConfig
from ...methods.base import KeepMethod, PositionMethod
from ...methods.dense import Dense
from ...methods.positions import Absolute, Relative
from ...methods.window import RollingWindow, Window
from ...stream.config import frames_of_a_pass
from ...stream.prompts import SwitchMethod
from ...stream.rollout import Rollout
from .family import Family

_TRAINED_FRAMES = 21  # what nearly all families were trained for; taken for models whose family is unknown


@dataclass(frozen=True)
class FamilyLoop:
    """How a family's loop differs from the common one; fields as in `StreamConfig`."""

    first_sigmas: tuple[float, ...] | None = None
    rolling: bool = False
    rollout: Rollout | None = None

    def options(self, sigmas: tuple[float, ...]) -> dict[str, Any]:
        """Fields of a `StreamConfig` with these noise levels.

        A first chunk has its own levels only if the video goes all the way from pure noise (1) to clean (0).
        """
        first = self.first_sigmas if (sigmas[0], sigmas[-1]) == (1, 0) else None
        return {"first_sigmas": first, "rolling": self.rolling, "rollout": self.rollout}

    def pass_frames(self, chunk_frames: int, denoising_passes: int) -> int:
        """The largest number of latent frames in one pass."""
        return frames_of_a_pass(chunk_frames, denoising_passes, self.rolling)

    def starts_over_each(self, chunk_frames: int) -> bool:
        """Whether every chunk starts with a new memory."""
        return self.rollout is not None and self.rollout.frames - self.rollout.context <= chunk_frames


COMMON = FamilyLoop()


def family_loop(family: Family | None) -> FamilyLoop:
    """The loop of a family; the common one if the family is unknown."""
    if family is None:
        return COMMON
    rollout = None
    if family.loop == "restart":
        rollout = Rollout(family.context_frames + family.restart_frames, family.context_frames)
    return FamilyLoop(family.first_sigmas, family.loop == "rolling", rollout)


def family_switch(family: Family | None) -> SwitchMethod | None:
    """What a family does when the prompt changes; None if the family is unknown."""
    return None if family is None else family.prompt_switch


def family_memory(family: Family) -> MemoryConfig:
    """What a family's models keep and read, as in their training."""
    keep: KeepMethod = Dense()
    if family.loop == "rolling":
        keep = RollingWindow(family.sink, family.window)
    elif family.window is not None:
        keep = Window(family.sink, family.window, family.sink_average)
    return MemoryConfig(keep, _family_rope(family))


def positions_for(keep: KeepMethod, family: Family | None) -> PositionMethod:
    """Positions under a memory policy that was chosen by hand.

    Unless the family itself has relative positions, they are absolute up to the length that the model was trained
    for. From there on, opening frames get positions right before the recent ones.
    """
    if keep.keeps_all:
        return Absolute()
    if family is not None and family.rope == "relative":
        return _family_rope(family)
    return Relative(_TRAINED_FRAMES if family is None else family.latent_frames)


def _family_rope(family: Family) -> PositionMethod:
    """A family's own positions; relative ones are counted without a gap between the sink and the recent frames."""
    return Relative() if family.rope == "relative" or family.loop == "rolling" else Absolute()
