"""Speed presets: one setting of all methods for each trade-off between quality and speed.

Every preset sets every method, if only to its default, so that nothing of an earlier setting is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .checkpoints.families.family import Family
from .checkpoints.families.running import FamilyLoop, family_memory, positions_for
from .errors import DummyForcingError
from .memory_config import MemoryConfig
from .methods.base import KeepMethod, SelectMethod
from .methods.dummy_forcing import DummyForcing
from .methods.light_forcing import LightForcing
from .methods.pass_skip import PassSkip
from .methods.plain import AllKeys


@dataclass(frozen=True)
class SpeedPreset:
    """Values for all methods.

    Attributes:
        summary: what it is for, a sentence without a full stop.
        keep: which frames heads keep.
        select: which of them queries read.
        skip: denoising passes that are skipped.
        fp8: whether the blocks' linear layers are in FP8.
        decoders: light decoders by file name without its ending, the best first; () for the VAE itself.
    """

    summary: str
    keep: KeepMethod
    select: SelectMethod = field(default_factory=AllKeys)
    skip: PassSkip | None = None
    fp8: bool = False
    decoders: tuple[str, ...] = ()


_LIGHT_VAE, _LIGHT_TAE, _TAE = "lightvaew2_1", "lighttaew2_1", "taew2_1"

PRESETS = {
    "quality": SpeedPreset(
        "flat memory, and nothing else that could be seen",
        DummyForcing(dummy_ratio=0.25, local_context=4),
    ),
    "balanced": SpeedPreset(
        "less to read, FP8 and a light VAE",
        DummyForcing(dummy_ratio=0.5, local_context=4),
        LightForcing(keep_frames=6),
        fp8=True,
        decoders=(_LIGHT_VAE, _LIGHT_TAE, _TAE),
    ),
    "max": SpeedPreset(
        "the least to read, one pass of each chunk skipped, FP8 and the lightest decoder",
        DummyForcing(dummy_ratio=0.5, local_context=1),
        skip=PassSkip(passes=(1,)),
        fp8=True,
        decoders=(_LIGHT_TAE, _TAE, _LIGHT_VAE),
    ),
}
"""Presets by name, from the best to the fastest."""


@dataclass(frozen=True)
class FittedPreset:
    """The part of a preset that a model's family can run.

    memory, skip: what to set. notes: what is left out and why, sentences without a full stop.
    """

    memory: MemoryConfig
    skip: PassSkip | None
    notes: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """One line for each method: what it is set to."""
        passes = "all computed" if self.skip is None else self.skip.describe()
        return [
            f"memory: {self.memory.keep.describe()}",
            f"selection: {self.memory.select.describe()}",
            f"passes: {passes}",
            *(f"note: {note}" for note in self.notes),
        ]


def speed_preset(name: str) -> SpeedPreset:
    """Raises DummyForcingError for an unknown name."""
    if name not in PRESETS:
        raise DummyForcingError(f"unknown speed preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


def fit_preset(
    preset: SpeedPreset, family: Family | None, loop: FamilyLoop, passes: int | None = None
) -> FittedPreset:
    """The part of a preset that a family's loop can run; family None stands for an unknown model.

    passes: denoising passes of a chunk; None for as many as the family has.
    """
    if family is not None and (loop.rolling or loop.starts_over_each(family.chunk_frames)):
        kept = "memory, selection and passes stay as the model was trained: heads cannot be measured in its loop"
        return FittedPreset(family_memory(family), None, (kept,))
    memory = MemoryConfig(preset.keep, positions_for(preset.keep, family), select=preset.select)
    if passes is None and family is not None:
        passes = len(family.sigmas) - 1
    if preset.skip is None or passes is None:
        return FittedPreset(memory, preset.skip)
    try:
        preset.skip.check_passes(passes)
    except DummyForcingError as error:
        return FittedPreset(memory, None, (f"all passes are computed: {error.message}",))
    return FittedPreset(memory, preset.skip)
