"""Resumable training: where a stage stands, its random numbers and its validation curve."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, the same whether training was interrupted before it or not."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def learning_rate(step: int, steps: int, warmup: int = 40) -> float:
    """Share of the peak rate: linear warm-up, constant up to half of the steps, then linear down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    return min(1.0, 0.02 + 0.98 * 2 * (steps - step) / steps)


@torch.no_grad()
def update_average(average: torch.nn.Module, model: torch.nn.Module, step: int, decay: float) -> None:
    """Exponential moving average of the weights; follows closely during the first steps."""
    decay = min(decay, (step + 1) / (step + 10))
    for kept, fresh in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(fresh, 1 - decay)


class Stage:
    """One stage of training: a resumable state file and a JSON-lines log of its curve."""

    def __init__(self, folder: Path, name: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.pt"
        self._curve = folder / f"{name}.jsonl"
        self._started = time.monotonic()
        self._spent_before = 0.0

    def resume(self, **parts) -> int:
        """Put `parts` back to their last saved state; returns the step to go on from, 0 on a fresh start."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        self._spent_before = state["seconds"]
        return state["step"]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent on this stage over all its runs."""
        return self._spent_before + time.monotonic() - self._started

    def save(self, step: int, **parts) -> None:
        """Replace the saved state by that of `parts`; a crash leaves either the old or the new one."""
        partial = self.path.with_suffix(".partial")
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**states, "step": step, "seconds": self.seconds}, partial)
        os.replace(partial, self.path)

    def log(self, **row) -> None:
        """Append a row to the curve and print it."""
        row = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
        row["seconds"] = round(self.seconds, 1)
        with self._curve.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
