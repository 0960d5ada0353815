"""Model families as data: how each was distilled and is therefore run (MODELS.md, A1 and A2).

Only families that the common loop (MODELS.md, B0) runs exactly are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DummyForcingError
from ..stream.sigmas import even_steps, warp_steps


@dataclass(frozen=True)
class Family:
    """One row of the family table.

    Attributes:
        name: as on the command line.
        title: for people.
        chunk_frames: latent frames denoised together.
        steps: timesteps of the denoising passes, decreasing from 1000, before the shift.
        shift: flow-matching time shift of the schedule.
        latent_frames: length the model was trained for and the default.
        pixel_size: default (height, width) in pixels.
        licence: of the published weights.
    """

    name: str
    title: str
    chunk_frames: int
    steps: tuple[float, ...]
    shift: float
    latent_frames: int
    pixel_size: tuple[int, int]
    licence: str

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Noise levels of the denoising passes, ending with 0."""
        return warp_steps(self.steps, self.shift)

    def sigmas_of(self, steps: int | None) -> tuple[float, ...]:
        """Noise levels of that many even passes under the family's shift; None or 0 for the family's own."""
        return warp_steps(even_steps(steps), self.shift) if steps else self.sigmas


_FOUR_STEPS = (1000.0, 750.0, 500.0, 250.0)
_480P = (480, 832)

_ROWS = (
    Family("toy-world", "Toy World", 3, _FOUR_STEPS, 5.0, 21, (96, 96), "Apache-2.0"),
    Family("self-forcing", "Self-Forcing", 3, _FOUR_STEPS, 5.0, 21, _480P, "CC-BY-NC-SA-4.0"),
    Family("causal-forcing", "Causal Forcing, chunkwise", 3, _FOUR_STEPS, 5.0, 21, _480P, "Apache-2.0"),
    Family("causal-forcing-framewise", "Causal Forcing, framewise", 1, _FOUR_STEPS, 5.0, 21, _480P, "Apache-2.0"),
)

FAMILIES: dict[str, Family] = {row.name: row for row in _ROWS}
"""All families by name."""


def family(name: str) -> Family:
    """Look a family up; raises DummyForcingError for an unknown name."""
    if name not in FAMILIES:
        raise DummyForcingError(f"there is no model family {name!r}; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
