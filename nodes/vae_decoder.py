"""The host's Wan VAE, decoding a stream chunk by chunk."""

from __future__ import annotations

from ..core.errors import DummyForcingError
from ..core.stream.decode import StreamingDecoder

_NAME = "wan_2.1_vae.safetensors"


def streaming_decoder(vae, channels: int) -> StreamingDecoder:
    """A decoder over a VAE object's own module, on the device and in the dtype that ComfyUI runs it in.

    Raises:
        DummyForcingError: not a Wan 2.1 VAE, or one of other latent channels than the model's.
    """
    found = getattr(vae, "latent_channels", None)
    if found != channels:
        raise DummyForcingError(
            f"the VAE has {found} latent channels, the model {channels}; use the Wan 2.1 VAE ({_NAME})"
        )
    module = vae.first_stage_model
    if not (hasattr(module, "conv2") and hasattr(module, "decoder") and hasattr(module.decoder, "upsamples")):
        raise DummyForcingError(
            f"the VAE ({type(module).__name__}) cannot decode a stream; use the Wan 2.1 VAE ({_NAME})"
        )
    return StreamingDecoder(module, vae.patcher.load_device, vae.vae_dtype)
