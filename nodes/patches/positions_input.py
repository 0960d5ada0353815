"""What the nodes that fill the keep slot of a memory have in common: positions on the time axis."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ...core.checkpoints.families.running import positions_for
from ...core.methods.base import KeepMethod
from ...core.methods.positions import Absolute, Relative
from ..host.patched_models import memory_config
from ..host.patching import with_memory
from ..video.model_facts import model_facts

AUTO = "auto"
_POSITIONS = {"absolute": Absolute(), "relative": Relative()}


def positions_input() -> io.Combo.Input:
    """Where kept frames are on the time axis of RoPE."""
    return io.Combo.Input(
        "positions",
        options=[AUTO, *_POSITIONS],
        default=AUTO,
        optional=True,
        advanced=True,
        tooltip=(
            "Positions of kept frames in long videos. auto: as in the video up to the length that the model was "
            "trained for, then first frames right before the recent ones, so length has no limit. absolute: always "
            "as in the video. relative: first frames always right before the recent ones (Infinity-RoPE)."
        ),
    )


def with_keep(model, keep: KeepMethod, positions: str):
    """A clone of the MODEL with this policy in place of an older one."""
    facts = model_facts(model)
    rope = _POSITIONS.get(positions) or positions_for(keep, facts.family if facts else None)
    return with_memory(model, replace(memory_config(model), keep=keep, rope=rope))
