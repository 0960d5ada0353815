"""From latents to video frames, chunk by chunk, with the same result as decoding the whole clip at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import DummyForcingError
from ..wan.latent_norm import denormalise
from ..wan.vae_stream import VAEState, decode_chunk


class StreamingDecoder:
    """Decodes one clip; holds a few frames per temporal layer of the VAE, whatever the clip's length.

    `vae` is any module tree with Wan 2.1 VAE names; it runs on the device and in the dtype of its parameters, or on
    those given, where a host keeps weights elsewhere and casts them.
    """

    def __init__(self, vae: nn.Module, device: torch.device | None = None, dtype: torch.dtype | None = None):
        weight = next(vae.parameters())
        self.vae = vae
        self._device, self._dtype = device or weight.device, dtype or weight.dtype
        self._state = VAEState()

    @property
    def bytes(self) -> int:
        """Bytes held between chunks."""
        return self._state.bytes

    def decode(self, latents: Tensor) -> Tensor:
        """Decode the clip's next latent frames.

        Args:
            latents: [B, 16, F, h, w] in the backbone's scale, any device and dtype, F >= 1.

        Returns:
            frames [B, T, 8h, 8w, 3] fp32 in [0, 1] on the CPU; T = 4F, less 3 in the clip's first chunk.

        Raises:
            DummyForcingError: latents of another shape.
        """
        if latents.ndim != 5 or 0 in latents.shape:
            raise DummyForcingError(
                f"latents of shape {list(latents.shape)} cannot be decoded; expected [batch, 16, frames, h, w]"
            )
        try:
            pixels = self._run(latents)
        except BaseException:
            self.close()  # some layers have advanced and others have not: the clip cannot go on
            raise
        # Outside of inference mode, so that callers get ordinary tensors.
        return pixels.movedim(1, -1).add(1).div(2).clamp(0, 1).cpu()

    def close(self) -> None:
        """Free what is held; the next chunk decoded begins a new clip."""
        self._state.clear()

    @torch.inference_mode()
    def _run(self, latents: Tensor) -> Tensor:
        raw = denormalise(latents.float()).to(self._device, self._dtype)
        return decode_chunk(self.vae, raw, self._state).float()
