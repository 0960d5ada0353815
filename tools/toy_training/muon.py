"""Muon for matrices and convolutions, AdamW for the rest.

torch.optim.Muon takes two-dimensional parameters only; the autoencoder is all convolutions, whose filters are
orthogonalised here as [outputs, inputs x kernel] matrices. After 300 steps on single images the autoencoder's loss
was 0.11 with Muon and 0.53 with Adam alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz (Jordan et al. 2024), with decoupled weight decay."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(parameter)
                velocity = state["velocity"].mul_(group["momentum"]).add_(parameter.grad)
                update = _orthogonalise(parameter.grad.add(velocity, alpha=group["momentum"]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])


class Optimisers:
    """Muon and AdamW side by side, under one schedule."""

    def __init__(self, model: nn.Module, muon_rate: float, adam_rate: float, adam_names: tuple[str, ...] = ()):
        muon, adam = _split_parameters(model, adam_names)
        self._all = (
            Muon(muon, lr=muon_rate, weight_decay=0.01),
            torch.optim.AdamW(adam, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self._peaks = (muon_rate, adam_rate)
        self._parameters = [*muon, *adam]

    def set_rate(self, share: float) -> None:
        """Set both learning rates to a share of their peaks."""
        for optimiser, peak in zip(self._all, self._peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * share

    def step(self, loss: Tensor) -> None:
        """Backpropagate a loss and take a step."""
        for optimiser in self._all:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.apply()

    def apply(self) -> None:
        """Take a step with the gradients as they are."""
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimiser in self._all:
            optimiser.step()

    def state_dict(self) -> list[dict]:
        return [optimiser.state_dict() for optimiser in self._all]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimiser, state in zip(self._all, states, strict=True):
            optimiser.load_state_dict(state)


def _split_parameters(model: nn.Module, adam_names: tuple[str, ...] = ()) -> tuple[list[Tensor], list[Tensor]]:
    """(matrices and filters for Muon, everything else for AdamW); names containing `adam_names` go to AdamW."""
    muon, adam = [], []
    for name, parameter in model.named_parameters():
        matrix = min(parameter.shape[:2]) > 1 if parameter.ndim >= 2 else False
        to_muon = matrix and not any(part in name for part in adam_names)
        (muon if to_muon else adam).append(parameter)
    return muon, adam


def _orthogonalise(gradient: Tensor) -> Tensor:
    matrix = gradient.flatten(1)
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = (x / (x.norm() + 1e-7)).bfloat16()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    x = x.T if tall else x
    return (x.float() * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5).reshape(gradient.shape)
