"""TAEHV's decoder for Wan 2.1 latents as a plain module container with the checkpoints' parameter names.

A small net of 2-D convolutions (taew2_1, lighttaew2_1: madebyollin/taehv, lightx2v/Autoencoders). Only its
`MemBlock`s look back in time: they also see their input of the frame before. `tae_stream` runs the
net, on a whole clip or in chunks. Only the decoder is here: pictures are encoded by the VAE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import DummyForcingError

ENCODER = "encoder."
"""Prefix of the tensors that the files hold besides those of the decoder."""

_CONV_IN, _LEVELS, _CONV_OUT = 1, (3, 9, 15), 22  # places in the sequence
_GROW = 4  # places from a level's first block to its change of frame rate
_BLOCKS = 3  # in a level
_GROWTH = (1, 2, 2)  # frames made of one in each level: 4 in all, as in the Wan VAE
_COLOURS = 3
_OTHERS = {24: "MiniMax H3", 32: "HunyuanVideo 1.5", 48: "Wan 2.2 5B", 128: "LTX 2"}  # by latent channels


@dataclass(frozen=True)
class TAEShape:
    """Sizes of a TAEHV decoder: channels of its levels from latents to pixels, and latent channels."""

    widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    latent_channels: int = 16

    @property
    def width(self) -> int:
        """Channels at the size of the video."""
        return self.widths[-1]

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> TAEShape:
        """Read the sizes off a state dict with the original key names.

        Raises:
            DummyForcingError: the file is no TAEHV decoder, or one for another model's latents.
        """
        try:
            latents = state[f"decoder.{_CONV_IN}.weight"].shape[1]
            outputs = state[f"decoder.{_CONV_OUT}.bias"].shape[0]
            convs = [state[f"decoder.{place}.weight"] for place in (_CONV_IN, *(level + 5 for level in _LEVELS))]
            grows = [state[f"decoder.{level + _GROW}.conv.weight"] for level in _LEVELS]
        except (KeyError, IndexError) as missing:
            raise DummyForcingError(
                f"no TAEHV decoder in its usual layout ({missing}); expected the keys of taew2_1 or lighttaew2_1, "
                "'decoder.1.weight' to 'decoder.22.bias' ('super' versions have others)"
            ) from None
        growth = tuple(grow.shape[0] // grow.shape[1] for grow in grows)
        if latents in _OTHERS or outputs != _COLOURS or growth != _GROWTH:
            raise DummyForcingError(
                f"a TAEHV decoder for {_OTHERS.get(latents, 'another model')} ({latents} latent channels, "
                f"{outputs} output channels, frames {growth}); expected 16, {_COLOURS} and {_GROWTH} as in taew2_1"
            )
        return cls(tuple(conv.shape[0] for conv in convs), latents)


class Clamp(nn.Module):
    """Clamp smoothly to -3 ... 3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Residual block over a frame and the one before it."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            _conv(channels * 2, channels),
            nn.ReLU(),
            _conv(channels, channels),
            nn.ReLU(),
            _conv(channels, channels),
        )
        self.skip = nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        """x, past [N, C, h, w]: frames and, for each, the input of the frame before; zeros where there is none."""
        return self.act(self.conv(torch.cat([x, past], 1)) + self.skip(x))


class TGrow(nn.Module):
    """Turns each frame into `stride` frames."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, h, w] -> [N * stride, C, h, w]."""
        return self.conv(x).reshape(-1, *x.shape[1:])


class TAE(nn.Module):
    """The decoder."""

    def __init__(self, shape: TAEShape):
        super().__init__()
        self.shape = shape
        layers: list[nn.Module] = [Clamp(), _conv(shape.latent_channels, shape.widths[0]), nn.ReLU()]
        for level, stride in enumerate(_GROWTH):
            inputs, outputs = shape.widths[level : level + 2]
            layers += [MemBlock(inputs) for _ in range(_BLOCKS)]
            layers += [nn.Upsample(scale_factor=2), TGrow(inputs, stride), _conv(inputs, outputs, bias=False)]
        layers += [nn.ReLU(), _conv(shape.widths[-1], _COLOURS)]
        self.decoder = nn.Sequential(*layers)


def _conv(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
