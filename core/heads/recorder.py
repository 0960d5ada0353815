"""Records head scores from inside a pass: an observer on the attend call, not a second forward path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .head_scores import attention_mass, sample_rows


class Clock(Protocol):
    """What the recorder reads of the chunk clock."""

    @property
    def chunk(self) -> int: ...
    @property
    def pass_index(self) -> int: ...
    @property
    def memory_frame(self) -> int: ...


class MassRecorder:
    """Collects the attention mass of every layer in the passes that `wants` picks.

    layers: how many layers make a complete pass. row_fraction, seed: the queries to score, see
    `sample_rows`. wants: decides from the clock whether a pass is recorded; called once per layer and pass,
    so keep it cheap. rows: int64 [rows] per layer, used instead of sampling. Results stay on the device until
    they are asked for.
    """

    def __init__(
        self,
        layers: int,
        *,
        row_fraction: float,
        seed: int,
        wants: Callable[[Clock], bool],
        rows: Sequence[Tensor] | None = None,
    ) -> None:
        if rows is not None and len(rows) != layers:
            raise ValueError(f"rows given for {len(rows)} layers, expected {layers}")
        self._layers = layers
        self._row_fraction = row_fraction
        self._seed = seed
        self._wants = wants
        self._given_rows = rows
        self._rows: dict[tuple[int, int, torch.device], Tensor] = {}
        self._masses: dict[tuple[int, int], dict[int, Tensor]] = {}

    def wants(self, clock: Clock) -> bool:
        """Whether layers should call `observe` in this pass."""
        return self._wants(clock)

    def observe(self, layer: int, q: Tensor, k: Tensor, key_frames: Sequence[int], clock: Clock) -> None:
        """Score one layer of one pass; arguments as in `attention_mass`. Replaces an earlier score."""
        rows = self._rows_for(layer, q.shape[1], q.device)
        mass = attention_mass(q, k, key_frames, clock.memory_frame, rows)
        self._masses.setdefault((clock.chunk, clock.pass_index), {})[layer] = mass

    def masses(self, chunk: int, pass_index: int) -> Tensor:
        """Masses of one pass: fp32 [batch, layers, heads, 3] on the CPU.

        Raises RuntimeError if a layer is missing.
        """
        found = self._masses.get((chunk, pass_index), {})
        missing = [layer for layer in range(self._layers) if layer not in found]
        if missing:
            raise RuntimeError(f"chunk {chunk}, pass {pass_index}: no head scores of layers {missing}")
        return torch.stack([found[layer] for layer in range(self._layers)], dim=1).cpu()

    @property
    def recorded(self) -> list[tuple[int, int]]:
        """(chunk, pass_index) of every pass recorded, in order."""
        return list(self._masses)

    def clear(self) -> None:
        """Forget all results, for example when a new video starts."""
        self._masses.clear()
        self._rows.clear()

    def _rows_for(self, layer: int, queries: int, device: torch.device) -> Tensor:
        key = (layer, queries, device)
        if key not in self._rows:
            if self._given_rows is not None:
                rows = self._given_rows[layer]
            else:
                rows = sample_rows(queries, self._row_fraction, seed=self._seed, layer=layer)
            self._rows[key] = rows.to(device, non_blocking=True)
        return self._rows[key]
