"""Streaming decode of TAEHV, exact for any chunking.

All layers but the `MemBlock`s look at one frame alone, so a clip may be cut anywhere as long as every block
remembers its last input. All frames of a chunk go through a layer together. As in `vae_stream`, the functions work
on any module tree with the original names, ours or the host's, and layers are only ever called.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..video import FRAMES_PER_LATENT
from .vae_stream import VAEState


def is_tae(module: nn.Module) -> bool:
    """Whether a module tree is a TAEHV decoder."""
    decoder = getattr(module, "decoder", None)
    return isinstance(decoder, nn.Sequential) and any(map(_is_mem_block, decoder))


def decode_tae_chunk(
    tae: nn.Module, latents: Tensor, state: VAEState, check: Callable[[], None] = lambda: None
) -> Tensor:
    """Decode the next latent frames of a clip; any number at a time gives the same video.

    The net makes four frames of the first latent too; the first three are dropped, as its authors do
    (`frames_to_trim`), so that frames are counted and timed as in the Wan VAE.

    Args:
        tae: module tree with TAEHV's names.
        latents: [B, C, t, h, w] in the scale that the net was trained with, t >= 1.
        state: remembers the clip between calls; a new one starts a clip.
        check: called before every layer; may raise to stop.

    Returns:
        pixels [B, 3, T, 8h, 8w], nominally in [0, 1]; T = 4t, less 3 on the first call.
    """
    batch, dropped = latents.shape[0], 0 if state.started else FRAMES_PER_LATENT - 1
    x = latents.transpose(1, 2).flatten(0, 1)
    for layer in tae.decoder:
        check()
        x = _remembering(layer, x, batch, state) if _is_mem_block(layer) else layer(x)
    return x.unflatten(0, (batch, -1)).transpose(1, 2)[:, :, dropped:]


def _is_mem_block(layer: nn.Module) -> bool:
    return hasattr(layer, "skip")


def _remembering(block: nn.Module, x: Tensor, batch: int, state: VAEState) -> Tensor:
    frames = x.unflatten(0, (batch, -1))
    last = state.get(block)
    if last is None:
        last = torch.zeros_like(frames[:, :1])
    state.remember(block, frames[:, -1:])
    past = torch.cat([last, frames[:, :-1]], dim=1)
    return block(x, past.flatten(0, 1))
