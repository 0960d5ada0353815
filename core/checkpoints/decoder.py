"""Light decoders in place of the VAE's own, LightVAE and TAEHV, recognised by their tensors (docs/decoders.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..decoders.latent_scale import scale_by_name, settle_scale
from ..decoders.streaming import LatentScale, StreamingDecoder
from ..decoders.tae import TAE
from ..errors import DummyForcingError
from ..stream.encode import encode_clip
from ..wan.vae import WanVAE
from .files.checkpoint_files import read_tensors
from .layouts.wrapped_names import bare_names, looks_like_tae, looks_like_vae
from .load import fill_tae, fill_vae


@dataclass(frozen=True, eq=False)
class LightDecoder:
    """A decoder for latents that a VAE has encoded or a backbone has generated.

    Attributes:
        module: in eval mode, without gradients.
        scale: of the latents that it reads.
        reason: what the decoder is and why it has this scale, a sentence without a full stop.
    """

    module: WanVAE | TAE
    scale: LatentScale
    reason: str

    def begin(self) -> StreamingDecoder:
        """A streaming decoder for one clip."""
        return StreamingDecoder(self.module, scale=self.scale)

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        kind = "TAEHV" if isinstance(self.module, TAE) else "Wan VAE"
        return {"kind": kind, "width": self.module.shape.width, "latents": self.scale.value}


def open_decoder(
    path: Path,
    vae: WanVAE | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LightDecoder:
    """Load a Wan 2.1 VAE of any width or a TAEHV decoder for Wan 2.1 latents; weights may be of any type.

    Args:
        path: safetensors or PyTorch file.
        vae: the VAE that the latents belong to. The scale of a TAEHV decoder is measured against it; without it,
            the file's name and the type of its weights decide.
        device, dtype: of the weights.

    Raises:
        DummyForcingError: the file is unreadable, another model, or not a decoder for this VAE's latents.
    """
    state, what = bare_names(read_tensors(path)[0]), f"the decoder {path}"
    if looks_like_vae(state):
        module = fill_vae(state, what, device, dtype)
        return LightDecoder(module, LatentScale.RAW, f"it is a Wan 2.1 VAE of width {module.shape.width}")
    if not looks_like_tae(state):
        raise DummyForcingError(
            f"{what} is neither a Wan 2.1 VAE nor TAEHV; use lightvaew2_1, lighttaew2_1, taew2_1 or the VAE itself"
        )
    stored = state["decoder.22.bias"].dtype
    module = fill_tae(state, what, device, dtype)
    if vae is None:
        scale = scale_by_name(path.name, stored, what)
        return LightDecoder(module, scale, f"by name and type it is TAEHV for {scale.value} latents")
    scale = settle_scale(
        lambda scale: StreamingDecoder(module, scale=scale), StreamingDecoder(vae), partial(encode_clip, vae), what
    )
    return LightDecoder(module, scale, f"it is TAEHV for {scale.value} latents, as a test picture shows")
