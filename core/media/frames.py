"""Video frames as tensors: the one layout the package uses, [frames, height, width, 3], RGB."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import DummyForcingError


def check_frames(frames: Tensor) -> None:
    """Raise `DummyForcingError` unless `frames` is [frames, height, width, 3], floating point or uint8."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape[1:]:
        raise DummyForcingError(
            f"video frames have the shape [frames, height, width, 3], got {list(frames.shape)}; "
            "permute the axes and drop any batch or alpha axis"
        )
    if not (frames.is_floating_point() or frames.dtype == torch.uint8):
        raise DummyForcingError(
            f"video frames are floats in [0, 1] or uint8, got {frames.dtype}; convert the frames first"
        )


def to_bytes(frames: Tensor) -> Tensor:
    """Frames as uint8 on the CPU; floats are clamped to [0, 1] and rounded to the nearest level."""
    check_frames(frames)
    frames = frames.detach()
    if frames.dtype != torch.uint8:
        # In float32: bfloat16 has 8 significant bits, so x * 255 would already be off by a level.
        frames = frames.float().clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return frames.cpu().contiguous()


def to_unit(frames: Tensor) -> Tensor:
    """Frames as float32 in [0, 1] on the CPU; uint8 is divided by 255, floats are clamped."""
    check_frames(frames)
    levels = 255 if frames.dtype == torch.uint8 else 1
    return frames.detach().cpu().float().div(levels).clamp_(0, 1)


def pad_to(frame: Tensor, height: int, width: int) -> Tensor:
    """One frame [h, w, 3] enlarged at the bottom and right by repeating its border pixels."""
    rows, columns = height - frame.shape[0], width - frame.shape[1]
    if columns:
        frame = torch.cat([frame, frame[:, -1:].expand(-1, columns, -1)], dim=1)
    if rows:
        frame = torch.cat([frame, frame[-1:].expand(rows, -1, -1)], dim=0)
    return frame


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Frames uint8 [T, h, w, 3] scaled to another size, bicubic; scaling down averages pixels."""
    if frames.shape[1:3] == (height, width):
        return frames
    planes = frames.movedim(-1, 1).float()
    scaled = interpolate(planes, (height, width), mode="bicubic", antialias=True)
    return scaled.round_().clamp_(0, 255).to(torch.uint8).movedim(1, -1).contiguous()
