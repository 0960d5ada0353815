"""The Wan 2.1 video VAE as a plain module container with the checkpoints' parameter names.

Only construction and single-layer behaviour live here; `vae_stream` runs a clip through it, whole or in chunks.
Widths are free: the original is 96 wide, LightVAE is the same net with a width of 24, the toy world's has 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DummyForcingError

CHANNEL_MULTIPLIERS = (1, 2, 4, 4)
RESIDUAL_BLOCKS = 2
TEMPORAL_DOWNSAMPLE = (False, True, True)


@dataclass(frozen=True)
class WanVAEShape:
    """Sizes of a Wan 2.1 VAE: `width` of the outermost level and number of latent channels."""

    width: int = 96
    latent_channels: int = 16

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> WanVAEShape:
        """Read the sizes off a state dict with the original key names."""
        try:
            return cls(int(state["decoder.head.0.gamma"].shape[0]), int(state["conv2.weight"].shape[0]))
        except KeyError as missing:
            raise DummyForcingError(
                f"not a Wan 2.1 VAE: key {missing} is missing; expected a file with 'encoder.*', 'decoder.*', "
                "'conv1.*' and 'conv2.*' keys such as wan_2.1_vae.safetensors"
            ) from None


class CausalConv3d(nn.Conv3d):
    """3-D convolution that never looks ahead in time: all temporal padding goes to the past."""

    def __init__(self, inputs: int, outputs: int, kernel, stride=1, padding=0):
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding)
        self.past_frames = 2 * self.padding[0]
        self.padding = (0, *self.padding[1:])

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        """x [B, C, T, H, W]; `cache_x` the frames just before it, zeros where there are none."""
        if self.past_frames:
            if cache_x is None:
                cache_x = x.new_zeros(*x.shape[:2], self.past_frames, *x.shape[3:])
            x = torch.cat([cache_x, x], dim=2)
        return super().forward(x)


class ChannelRMSNorm(nn.Module):
    """RMS norm over channels (dim 1), gain only; `spatial_dims` sets the shape of the stored gain."""

    def __init__(self, channels: int, spatial_dims: int):
        super().__init__()
        self.scale = channels**0.5
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * spatial_dims))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * self.scale * self.gamma


class ResidualBlock(nn.Module):
    """Two causal convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.residual = nn.Sequential(
            ChannelRMSNorm(inputs, 3),
            nn.SiLU(),
            CausalConv3d(inputs, outputs, 3, padding=1),
            ChannelRMSNorm(outputs, 3),
            nn.SiLU(),
            nn.Identity(),  # dropout in the original: keeps the index of the next layer
            CausalConv3d(outputs, outputs, 3, padding=1),
        )
        self.shortcut = CausalConv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()


class AttentionBlock(nn.Module):
    """Single-head attention among the positions of one frame."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelRMSNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, channels * 3, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T, H, W] -> same."""
        batch, channels, frames, height, width = x.shape
        flat = x.transpose(1, 2).reshape(batch * frames, channels, height, width)
        q, k, v = self.to_qkv(self.norm(flat)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        mixed = self.proj(mixed.transpose(1, 2).reshape(flat.shape))
        return x + mixed.reshape(batch, frames, channels, height, width).transpose(1, 2)


class Resample(nn.Module):
    """Doubles or halves the resolution: always in space, and in time if `temporal`."""

    def __init__(self, channels: int, *, up: bool, temporal: bool):
        super().__init__()
        if up:
            self.resample = nn.Sequential(
                nn.Upsample(scale_factor=(2.0, 2.0), mode="nearest-exact"),
                nn.Conv2d(channels, channels // 2, 3, padding=1),
            )
        else:
            self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        if temporal and up:
            self.time_conv = CausalConv3d(channels, channels * 2, (3, 1, 1), padding=(1, 0, 0))
        elif temporal:
            self.time_conv = CausalConv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1))


def _middle(channels: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels, channels), AttentionBlock(channels), ResidualBlock(channels, channels)
    )


def _head(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ChannelRMSNorm(channels, 3), nn.SiLU(), CausalConv3d(channels, outputs, 3, padding=1))


class Encoder(nn.Module):
    """Pixels to latent moments."""

    def __init__(self, shape: WanVAEShape):
        super().__init__()
        widths = [shape.width * m for m in (1, *CHANNEL_MULTIPLIERS)]
        self.conv1 = CausalConv3d(3, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise(widths)):
            layers.append(ResidualBlock(inputs, outputs))
            layers.extend(ResidualBlock(outputs, outputs) for _ in range(RESIDUAL_BLOCKS - 1))
            if level < len(TEMPORAL_DOWNSAMPLE):
                layers.append(Resample(outputs, up=False, temporal=TEMPORAL_DOWNSAMPLE[level]))
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(widths[-1])
        self.head = _head(widths[-1], shape.latent_channels * 2)


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, shape: WanVAEShape):
        super().__init__()
        widths = [shape.width * m for m in (CHANNEL_MULTIPLIERS[-1], *reversed(CHANNEL_MULTIPLIERS))]
        temporal = tuple(reversed(TEMPORAL_DOWNSAMPLE))
        self.conv1 = CausalConv3d(shape.latent_channels, widths[0], 3, padding=1)
        self.middle = _middle(widths[0])
        layers: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise(widths)):
            layers.append(ResidualBlock(inputs // 2 if level else inputs, outputs))
            layers.extend(ResidualBlock(outputs, outputs) for _ in range(RESIDUAL_BLOCKS))
            if level < len(temporal):
                layers.append(Resample(outputs, up=True, temporal=temporal[level]))
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(widths[-1], 3)


class WanVAE(nn.Module):
    """Encoder, decoder and the two 1x1 convolutions around the latent."""

    def __init__(self, shape: WanVAEShape):
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.conv1 = CausalConv3d(shape.latent_channels * 2, shape.latent_channels * 2, 1)
        self.conv2 = CausalConv3d(shape.latent_channels, shape.latent_channels, 1)
        self.decoder = Decoder(shape)
