"""From latents to video frames, chunk by chunk, with the same result as decoding the whole clip at once."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor, nn

from ..errors import DummyForcingError
from ..video import FRAMES_PER_LATENT
from ..wan.latent_norm import denormalise
from .tae_stream import decode_tae_chunk, is_tae
from .vae_stream import VAEState, decode_chunk

# At least this many tensors of the outermost level are alive at once. The toy world on a CPU takes 7.8 at 512 x 512
# and more at smaller sizes; 2 of them are held between chunks.
_LEVEL_COPIES = 6


class LatentScale(Enum):
    """What a decoder was trained to read (docs/decoders.md)."""

    RAW = "raw"
    """Latents as the Wan VAE makes them, with the channels' means and standard deviations in `latent_norm`."""
    NORMALISED = "normalised"
    """Latents as the backbone makes them."""


class StreamingDecoder:
    """Decodes one clip; holds a few frames per temporal layer of the decoder, whatever the clip's length.

    `module` is any module tree with the names of a Wan 2.1 VAE of any width, or of TAEHV. It runs on the device and
    in the dtype of its parameters, or with those given here, for hosts that keep weights elsewhere and cast them.
    `scale` is that of the latents it reads, always raw for a VAE. `check` is called before every layer and may
    raise to stop.
    """

    def __init__(
        self,
        module: nn.Module,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        scale: LatentScale = LatentScale.RAW,
        check: Callable[[], None] = lambda: None,
    ):
        weight = next(module.parameters())
        self.device = device or weight.device
        self._module, self._dtype, self._scale, self._check = module, dtype or weight.dtype, scale, check
        self._state = VAEState()

    @property
    def bytes(self) -> int:
        """Bytes held between chunks."""
        return self._state.bytes

    def bytes_for(self, latent_frames: int, height: int, width: int) -> int:
        """Bytes that decoding a chunk of `height` x `width` pixels takes at least, with those held between chunks.

        0 for TAEHV, which takes little.
        """
        if is_tae(self._module):
            return 0
        level = self._module.decoder.head[0].gamma.shape[0] * FRAMES_PER_LATENT * latent_frames * height * width
        return _LEVEL_COPIES * level * self._dtype.itemsize

    def decode(self, latents: Tensor) -> Tensor:
        """Decode the clip's next latent frames.

        Args:
            latents: [B, 16, F, h, w] in the backbone's scale, any device and dtype, F >= 1.

        Returns:
            frames [B, T, 8h, 8w, 3] fp32 in [0, 1] on the CPU; T = 4F, less 3 in the clip's first chunk.

        Raises:
            DummyForcingError: latents of another shape.
        """
        return self.decode_on_device(latents).cpu()

    def decode_on_device(self, latents: Tensor) -> Tensor:
        """As `decode`, but the frames stay on the decoder's device, which may still be computing them."""
        if latents.ndim != 5 or 0 in latents.shape:
            raise DummyForcingError(
                f"latents of shape {list(latents.shape)} cannot be decoded; expected [batch, 16, frames, h, w]"
            )
        try:
            pixels = self._run(latents)
        except BaseException:
            self.close()  # some layers have advanced and others have not, so the clip cannot continue
            raise
        # Made outside inference mode, so that callers get ordinary tensors.
        return pixels.movedim(1, -1).clamp(0, 1)

    def decode_apart(self, latents: Tensor) -> Tensor:
        """As `decode`, for a separate clip; the clip in progress is not affected."""
        return StreamingDecoder(self._module, self.device, self._dtype, self._scale, self._check).decode(latents)

    def close(self) -> None:
        """Free what is held; the next chunk decoded begins a new clip."""
        self._state.clear()

    @torch.inference_mode()
    def _run(self, latents: Tensor) -> Tensor:
        scaled = latents.float() if self._scale is LatentScale.NORMALISED else denormalise(latents.float())
        scaled = scaled.to(self.device, self._dtype)
        if is_tae(self._module):
            return decode_tae_chunk(self._module, scaled, self._state, self._check).float()
        return decode_chunk(self._module, scaled, self._state, self._check).float().add(1).div(2)
