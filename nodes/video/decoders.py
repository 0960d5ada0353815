"""Decodes streams with ComfyUI's VAE objects, chunk by chunk; finds light decoders among its files."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path

import comfy.model_management
import folder_paths
from torch import Tensor, nn

from ...core.decoders.latent_scale import settle_scale
from ...core.decoders.streaming import LatentScale, StreamingDecoder
from ...core.decoders.tae_stream import is_tae
from ...core.errors import DummyForcingError
from ..host.chunk_forward import throw_if_stopped

logger = logging.getLogger("dummy_forcing")

_NAME = "wan_2.1_vae.safetensors"
_FOLDERS = ("vae", "vae_approx")
_LIGHT_NAMES = "lightvaew2_1, lighttaew2_1 or taew2_1"

_SETTLED: weakref.WeakKeyDictionary[nn.Module, LatentScale] = weakref.WeakKeyDictionary()
"""Scales found out so far; trying once more would load the VAE for nothing."""


def streaming_decoder(vae, channels: int) -> StreamingDecoder:
    """A decoder over a VAE object's own module, on the device and in the dtype that ComfyUI runs it in.

    Raises:
        DummyForcingError: not a Wan 2.1 VAE, or one with another number of latent channels than the model.
    """
    _check_channels(vae, channels, "VAE", f"the Wan 2.1 VAE ({_NAME})")
    module = vae.first_stage_model
    if not _is_wan_vae(module):
        raise DummyForcingError(
            f"the VAE ({type(module).__name__}) cannot decode a stream; use the Wan 2.1 VAE ({_NAME})"
        )
    return _over(vae)


def light_decoder(decoder, vae, model, channels: int) -> StreamingDecoder:
    """A decoder in place of the VAE's own: a Wan VAE of another width, or TAEHV in the scale it was trained in.

    ComfyUI decides by the type of its weights whether a TAEHV file of 16 channels is HunyuanVideo's or Wan's. Only
    its layers are used here, and what they read is found out by decoding a test picture, once per file.

    Args:
        decoder, vae: VAE objects; the latents are those of `vae`.
        model: knows the scale of its latents.

    Raises:
        DummyForcingError: another kind of decoder, or not one for this VAE's latents.
    """
    _check_channels(decoder, channels, "decoder", _LIGHT_NAMES)
    module = decoder.first_stage_model
    if _is_wan_vae(module):
        return _over(decoder)
    if not is_tae(module):
        raise DummyForcingError(f"the decoder ({type(module).__name__}) cannot decode a stream; use {_LIGHT_NAMES}")

    def encode(frame: Tensor) -> Tensor:
        latents = model.model.process_latent_in(vae.encode(frame[0]))
        comfy.model_management.load_models_gpu([vae.patcher, decoder.patcher])  # both decode next
        return latents

    if module not in _SETTLED:
        _SETTLED[module] = settle_scale(
            lambda scale: _over(decoder, scale), streaming_decoder(vae, channels), encode, "the decoder"
        )
        logger.info("the light decoder (TAEHV) reads %s latents, as a test picture shows", _SETTLED[module].value)
    return _over(decoder, _SETTLED[module])


def find_decoder(names: tuple[str, ...]) -> Path | None:
    """The file of the first of these decoders that is there, by the beginning of its name; else None."""
    files = [(folder, file) for folder in _FOLDERS for file in folder_paths.get_filename_list(folder)]
    for name in names:
        for folder, file in files:
            if Path(file).name.lower().startswith(name):
                return Path(folder_paths.get_full_path_or_raise(folder, file))
    return None


def open_decoder(path: Path):
    """A VAE object of the file, as ComfyUI's own Load VAE makes it."""
    import comfy.sd
    import comfy.utils

    state, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.throw_exception_if_invalid()
    vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (str(path), metadata, None))
    return vae


def _over(vae, scale: LatentScale = LatentScale.RAW) -> StreamingDecoder:
    device, dtype = vae.patcher.load_device, vae.vae_dtype
    return StreamingDecoder(vae.first_stage_model, device, dtype, scale, throw_if_stopped)


def _is_wan_vae(module: nn.Module) -> bool:
    return hasattr(module, "conv2") and hasattr(module, "decoder") and hasattr(module.decoder, "upsamples")


def _check_channels(vae, channels: int, what: str, remedy: str) -> None:
    found = getattr(vae, "latent_channels", None)
    if found != channels:
        raise DummyForcingError(f"the {what} has {found} latent channels, the model {channels}; use {remedy}")
