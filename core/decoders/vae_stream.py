"""Streaming encode and decode of the Wan 2.1 VAE, exact for any chunking.

A causal convolution needs the two frames before its input and nothing else, so a clip may be cut anywhere as
long as every layer remembers its own last two input frames. The functions work on *any* module tree with the
original attribute names (ours, or the host's `first_stage_model`): layers are called, weights never read.

Two layers treat the very first frame specially (Wan 2.1, `Resample`): it passes temporal up- and downsampling
unchanged, so 1 + 4n pixel frames correspond to 1 + n latent frames.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import DummyForcingError
from ..video import FRAMES_PER_LATENT

_PAST = 2


class VAEState:
    """What an unfinished clip needs to continue: the last input frames of every temporal layer."""

    def __init__(self) -> None:
        self._past: dict[int, Tensor] = {}

    @property
    def started(self) -> bool:
        return bool(self._past)

    @property
    def bytes(self) -> int:
        """Bytes held by the remembered frames."""
        return sum(past.numel() * past.element_size() for past in self._past.values())

    def clear(self) -> None:
        self._past.clear()

    def get(self, layer: nn.Module) -> Tensor | None:
        return self._past.get(id(layer))

    def remember(self, layer: nn.Module, frames: Tensor) -> None:
        # A copy: a view would keep the whole activation alive until the next chunk.
        self._past[id(layer)] = frames if frames.requires_grad else frames.contiguous().clone()


def encode_chunk(vae: nn.Module, pixels: Tensor, state: VAEState) -> Tensor:
    """Encode the next frames of a clip.

    Args:
        vae: module tree with Wan 2.1 VAE names.
        pixels: [B, 3, T, H, W] in [-1, 1], T = 1 + 4n on the first call and 4n later; H, W multiples of 8.
        state: remembers the clip between calls; a new one starts a clip.

    Returns:
        raw latent means [B, C, t, H/8, W/8] (see `latent_norm` for the scale the backbone uses).
    """
    frames = pixels.shape[2] - (0 if state.started else 1)
    if pixels.shape[2] < 1 or frames % FRAMES_PER_LATENT:
        raise DummyForcingError(
            f"the VAE encodes 1 + 4n frames first and 4n frames later, got {pixels.shape[2]}; trim or pad the clip"
        )
    encoder = vae.encoder
    x = _conv(encoder.conv1, pixels, state)
    for layer in (*encoder.downsamples, *encoder.middle, *encoder.head):
        x = _layer(layer, x, state)
    return vae.conv1(x).chunk(2, dim=1)[0]


def decode_chunk(
    vae: nn.Module, latents: Tensor, state: VAEState, check: Callable[[], None] = lambda: None
) -> Tensor:
    """Decode the next latent frames of a clip; any number at a time gives the same video.

    Args:
        vae: module tree with Wan 2.1 VAE names.
        latents: raw latents [B, C, t, h, w], t >= 1.
        state: remembers the clip between calls; a new one starts a clip.
        check: called before every layer; may raise to stop.

    Returns:
        pixels [B, 3, T, 8h, 8w], nominally in [-1, 1]; T = 4t, less 3 on the first call.
    """
    decoder = vae.decoder
    x = _conv(decoder.conv1, vae.conv2(latents), state)
    for layer in (*decoder.middle, *decoder.upsamples, *decoder.head):
        check()
        x = _layer(layer, x, state)
    return x


def _layer(layer: nn.Module, x: Tensor, state: VAEState) -> Tensor:
    if hasattr(layer, "residual"):
        return _residual(layer, x, state)
    if hasattr(layer, "resample"):
        return _resample(layer, x, state)
    if isinstance(layer, nn.Conv3d):
        return _conv(layer, x, state)
    return layer(x)


def _conv(conv: nn.Module, x: Tensor, state: VAEState) -> Tensor:
    past = state.get(conv)
    if past is None:
        past = x.new_zeros(*x.shape[:2], _PAST, *x.shape[3:])
    recent = x[:, :, -_PAST:]
    if recent.shape[2] < _PAST:
        recent = torch.cat([past[:, :, recent.shape[2] - _PAST :], recent], dim=2)
    state.remember(conv, recent)
    return conv(x, past)


def _residual(block: nn.Module, x: Tensor, state: VAEState) -> Tensor:
    hidden = x
    for layer in block.residual:
        hidden = _conv(layer, hidden, state) if isinstance(layer, nn.Conv3d) else layer(hidden)
    return block.shortcut(x) + hidden


def _resample(layer: nn.Module, x: Tensor, state: VAEState) -> Tensor:
    time_conv = getattr(layer, "time_conv", None)
    if time_conv is None:
        return _per_frame(layer.resample, x)
    if time_conv.stride[0] == 2:
        return _halve_time(time_conv, _per_frame(layer.resample, x), state)
    return _per_frame(layer.resample, _double_time(layer, x, state))


def _per_frame(module: nn.Module, x: Tensor) -> Tensor:
    batch, frames = x.shape[0], x.shape[2]
    y = module(x.transpose(1, 2).flatten(0, 1))
    return y.unflatten(0, (batch, frames)).transpose(1, 2)


def _halve_time(conv: nn.Module, x: Tensor, state: VAEState) -> Tensor:
    last = state.get(conv)
    state.remember(conv, x[:, :, -1:])
    if last is not None:
        return conv(torch.cat([last, x], dim=2))
    rest = x[:, :, 1:]
    return x if rest.shape[2] == 0 else torch.cat([x[:, :, :1], conv(x)], dim=2)


def _double_time(layer: nn.Module, x: Tensor, state: VAEState) -> Tensor:
    first = state.get(layer) is None
    if not first:
        return _interleave(_conv(layer.time_conv, x, state))
    state.remember(layer, x.new_zeros(0))  # marks that the first frame has passed
    if x.shape[2] == 1:
        return x
    return torch.cat([x[:, :, :1], _interleave(_conv(layer.time_conv, x[:, :, 1:], state))], dim=2)


def _interleave(x: Tensor) -> Tensor:
    """[B, 2C, T, H, W] -> [B, C, 2T, H, W], channel halves becoming neighbouring frames."""
    batch, channels, frames, height, width = x.shape
    pairs = x.reshape(batch, 2, channels // 2, frames, height, width)
    return pairs.permute(0, 2, 3, 1, 4, 5).reshape(batch, channels // 2, 2 * frames, height, width)
