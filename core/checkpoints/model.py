"""An opened model: backbone, VAE and family, and everything that a stream needs to know about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..decoders.streaming import StreamingDecoder
from ..errors import DummyForcingError
from ..memory_config import MemoryConfig
from ..stream.config import StreamConfig
from ..video import PIXELS_PER_LATENT
from ..wan.container import CausalWan
from ..wan.fp8_linear import say_fp8
from ..wan.shape import PATCH
from ..wan.vae import WanVAE
from .decoder import LightDecoder, open_decoder
from .families.family import Family
from .families.running import FamilyLoop, family_loop
from .families.table import AUTO
from .files.checkpoint_files import find_vaes
from .load import fill_backbone, load_vae
from .opened import open_backbone

_PIXEL_STEP = PIXELS_PER_LATENT * PATCH


@dataclass(frozen=True, eq=False)
class ARVideoModel:
    """An autoregressive video model, ready to stream.

    Attributes:
        backbone: denoises; in eval mode, without gradients.
        vae: has as many latent channels as the backbone; None where only latents are wanted.
        family: how the model is run.
        fingerprint: 16 hex digits that identify the weights, see `weights_fingerprint`.
        device, dtype: of backbone and VAE; text embeddings must be on that device and of that type.
        reason: why this family was chosen, a sentence without a full stop.
        decoder: decodes in place of the VAE; None where the VAE itself decodes.
        notes: what had to be adapted to read the backbone, as sentences for people.
    """

    backbone: CausalWan
    vae: WanVAE | None
    family: Family
    fingerprint: str
    device: torch.device
    dtype: torch.dtype
    reason: str = ""
    decoder: LightDecoder | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        channels = self.backbone.shape.out_channels
        if self.backbone.shape.in_channels != channels:
            raise DummyForcingError(
                f"the backbone reads {self.backbone.shape.in_channels} channels and writes {channels}; "
                "use a text-to-video checkpoint"
            )
        parts = {"VAE": self.vae, "decoder": self.decoder and self.decoder.module}
        for name, part in parts.items():
            if part is not None and part.shape.latent_channels != channels:
                raise DummyForcingError(
                    f"the {name} has {part.shape.latent_channels} latent channels, the backbone {channels}; "
                    f"use the {name} that belongs to the backbone"
                )

    def begin_decoding(self) -> StreamingDecoder:
        """A decoder for one clip: the light decoder's if there is one, else the VAE's; one must be there."""
        return StreamingDecoder(self.vae) if self.decoder is None else self.decoder.begin()

    def stream_config(
        self,
        latent_frames: int | None,
        memory: MemoryConfig,
        pixel_size: tuple[int, int] | None = None,
        sigmas: Sequence[float] | None = None,
        loop: FamilyLoop | None = None,
        **options: Any,
    ) -> StreamConfig:
        """Settings of one video; what is not given is the family's.

        Args:
            latent_frames: length, a multiple of the family's chunk; None streams without end
                (`family.latent_frames` is the usual length).
            memory: what is kept and read.
            pixel_size: (height, width), multiples of 16; by default the family's.
            sigmas: noise levels; by default the family's.
            loop: how the chunk loop differs from the common one; by default the family's.
            options: further fields of `StreamConfig`, such as `opening_frames`.

        Raises:
            DummyForcingError: the model cannot run the size, the length or the list of noise levels.
        """
        size = self.family.pixel_size if pixel_size is None else pixel_size
        if len(size) != 2 or any(side < _PIXEL_STEP or side % _PIXEL_STEP for side in size):
            raise DummyForcingError(
                f"a video size of {' x '.join(map(str, size))} pixels (height x width) does not fit the model; "
                f"use multiples of {_PIXEL_STEP}"
            )
        sigmas = self.family.sigmas if sigmas is None else tuple(sigmas)
        loop = family_loop(self.family) if loop is None else loop
        return StreamConfig(
            sigmas=sigmas,
            chunk_frames=self.family.chunk_frames,
            total_frames=latent_frames,
            latent_size=(size[0] // PIXELS_PER_LATENT, size[1] // PIXELS_PER_LATENT),
            channels=self.backbone.shape.in_channels,
            memory=memory,
            **loop.options(sigmas),
            **options,
        )


def open_checkpoint(
    path: str | Path,
    *,
    vae: str | Path | None = None,
    family: str = AUTO,
    lora: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    fp8: bool = False,
    decoder: str | Path | None = None,
) -> ARVideoModel:
    """Open a model for streaming.

    Args:
        path: the backbone's file, one of its shards, or a folder that holds the backbone and maybe its VAE.
        vae: the VAE's safetensors file; by default the one in the folder, if there is one.
        family: name of a row of `table.FAMILIES`, or "auto" to recognise it from the checkpoint.
        lora: a LoRA to merge, such as the one that LongLive needs.
        fp8: run the linear layers of the blocks in FP8, with LoRAs merged; everything else is in `dtype`.
        decoder: file of a light decoder (`decoder.open_decoder`).

    Raises:
        DummyForcingError: a family that is unknown or cannot be recognised, a LoRA that is missing or wrong, or a
            file that cannot be loaded.
    """
    path = Path(path)
    vae_path = _vae_beside(path) if vae is None else Path(vae)
    opened = open_backbone(path, family, None if lora is None else Path(lora))
    loras = () if opened.lora is None else (opened.lora.merge,)
    backbone = fill_backbone(opened.normal, opened.what, device, dtype, loras, fp8)
    if fp8:
        say_fp8(backbone, torch.device(device))
    encoder = None if vae_path is None else load_vae(vae_path, device, dtype)
    return ARVideoModel(
        backbone=backbone,
        vae=encoder,
        family=opened.detected.family,
        fingerprint=opened.normal.fingerprint,
        device=torch.device(device),
        dtype=dtype,
        reason=opened.detected.reason,
        decoder=None if decoder is None else open_decoder(Path(decoder), encoder, device, dtype),
        notes=opened.normal.notes,
    )


def _vae_beside(path: Path) -> Path | None:
    found = find_vaes(path) if path.is_dir() else []
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DummyForcingError(f"{path} has several VAEs ({names}); say which one to use")
    return found[0] if found else None
