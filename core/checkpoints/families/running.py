"""How a family is run: its row of the table as memory, positions and loop."""

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

_TRAINED_FRAMES = 21  # of nearly all families; for models of which nothing is known


@dataclass(frozen=True)
class FamilyLoop:
    """What a family's loop does differently; fields as in `StreamConfig`."""

    first_sigmas: tuple[float, ...] | None = None
    rolling: bool = False
    rollout: Rollout | None = None

    def options(self, sigmas: tuple[float, ...]) -> dict[str, Any]:
        """For a `StreamConfig` with these noise levels; only from pure noise to clean has a first chunk its own."""
        first = self.first_sigmas if (sigmas[0], sigmas[-1]) == (1, 0) else None
        return {"first_sigmas": first, "rolling": self.rolling, "rollout": self.rollout}

    def pass_frames(self, chunk_frames: int, denoising_passes: int) -> int:
        """Most latent frames that a pass has."""
        return frames_of_a_pass(chunk_frames, denoising_passes, self.rolling)

    def starts_over_each(self, chunk_frames: int) -> bool:
        """Whether every chunk has a memory of its own."""
        return self.rollout is not None and self.rollout.frames - self.rollout.context <= chunk_frames


COMMON = FamilyLoop()


def family_loop(family: Family | None) -> FamilyLoop:
    """The loop of a family, the common one if it is not known."""
    if family is None:
        return COMMON
    rollout = None
    if family.loop == "restart":
        rollout = Rollout(family.context_frames + family.restart_frames, family.context_frames)
    return FamilyLoop(family.first_sigmas, family.loop == "rolling", rollout)


def family_switch(family: Family | None) -> SwitchMethod | None:
    """What a family does when the prompt changes; None if it is not known."""
    return None if family is None else family.prompt_switch


def family_memory(family: Family) -> MemoryConfig:
    """What a family's models keep and read as they were trained."""
    keep: KeepMethod = Dense()
    if family.loop == "rolling":
        keep = RollingWindow(family.sink, family.window)
    elif family.window is not None:
        keep = Window(family.sink, family.window, family.sink_average)
    return MemoryConfig(keep, _family_rope(family))


def positions_for(keep: KeepMethod, family: Family | None) -> PositionMethod:
    """Positions under a policy that was chosen by hand.

    Where the family says nothing else, nothing changes up to the length that the model was trained for; from there
    on opening frames stay right before the recent ones.
    """
    if keep.keeps_all:
        return Absolute()
    if family is not None and family.rope == "relative":
        return _family_rope(family)
    return Relative(_TRAINED_FRAMES if family is None else family.latent_frames)


def _family_rope(family: Family) -> PositionMethod:
    """Families with window-relative positions count them without a gap behind the sink."""
    return Relative() if family.rope == "relative" or family.loop == "rolling" else Absolute()
