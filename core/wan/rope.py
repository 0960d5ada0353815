"""Three-axis rotary position embedding of Wan (time, height, width), with positions in fp32 or better.

Core ComfyUI builds positions in the model dtype, which in bf16 merges neighbouring frames past 256 latents
(docs/references.md, "ComfyUI's positions"); here angles are computed in fp64 and stored as complex64.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ...kernels import apply_rope, on_device

_THETA = 10000.0


def rope_rotations(
    frames: Sequence[int], height: int, width: int, head_dim: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Unit rotations of every token of a chunk.

    Args:
        frames: position of each latent frame on the time axis; there is no highest one.
        height, width: token grid of one frame.
        head_dim: channels of one head; Wan gives height and width 2 * (head_dim // 6) each, time the rest.

    Returns:
        [tokens, 1, head_dim / 2] complex64, frame-major, then rows, then columns; broadcasts over heads.
    """
    return _rotations(tuple(frames), height, width, head_dim, str(device))


@lru_cache(maxsize=4)  # all passes of a chunk share one table
@torch.inference_mode(False)  # a table made during inference must also serve training
def _rotations(frames: tuple[int, ...], height: int, width: int, head_dim: int, device: str) -> Tensor:
    spatial = 2 * (head_dim // 6)
    axes = (
        _angles(torch.tensor(frames, dtype=torch.float64), _time_channels(head_dim)),
        _angles(torch.arange(height, dtype=torch.float64), spatial),
        _angles(torch.arange(width, dtype=torch.float64), spatial),
    )
    time, rows, columns = axes
    grid = (len(time), height, width)
    angles = torch.cat(
        [
            time[:, None, None].expand(*grid, -1),
            rows[None, :, None].expand(*grid, -1),
            columns[None, None, :].expand(*grid, -1),
        ],
        dim=-1,
    )
    rotations = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
    return on_device(rotations.flatten(0, 2)[:, None], torch.device(device))


def move_in_time(x: Tensor, frames: int | Tensor) -> Tensor:
    """Rotate roped keys x [B, L, H, D] to a place `frames` latent frames later; keeps x's dtype.

    Only the channels of the time axis turn; rows and columns stay. A tensor of distances, one for each key,
    broadcasts to [B, L, H].
    """
    channels = _time_channels(x.shape[-1])
    if isinstance(frames, Tensor):
        angles = _angles(frames.double(), channels)
        rotation = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
    else:
        rotation = _time_rotation(frames, channels, str(x.device))
    return torch.cat([apply_rope(x[..., :channels], rotation), x[..., channels:]], dim=-1)


@lru_cache(maxsize=4)  # all layers move by the same distance
@torch.inference_mode(False)
def _time_rotation(frames: int, channels: int, device: str) -> Tensor:
    angles = _angles(torch.tensor([frames], dtype=torch.float64), channels)
    return on_device(torch.polar(torch.ones_like(angles), angles).to(torch.complex64), torch.device(device))


def _time_channels(head_dim: int) -> int:
    """Wan gives height and width 2 * (head_dim // 6) channels each, time the rest."""
    return head_dim - 4 * (head_dim // 6)


def _angles(positions: Tensor, channels: int) -> Tensor:
    exponents = torch.arange(0, channels, 2, dtype=torch.float64, device=positions.device) / channels
    return positions[..., None] * _THETA**-exponents
