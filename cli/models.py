"""From command-line options to a model and text embeddings."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.checkpoints.families.running import family_loop
from ..core.checkpoints.families.table import AUTO
from ..core.errors import DummyForcingError
from ..core.free_memory import free_bytes
from ..core.stream.config import StreamConfig
from ..core.stream.lengths import fitting_lengths, is_whole
from ..core.stream.room import Demand, Words, check_room
from ..core.video import FRAMES_PER_LATENT
from ..core.wan.fp8_linear import describe_fp8
from ..core.world.scene import FRAME_RATE
from .arguments import TOY
from .console import say

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel


_TYPED = Words(size=lambda height, width: f"--size {height}x{width}", length=lambda latents: f"--latents {latents}")


@dataclass(frozen=True)
class ModelChoice:
    """Which model to open. `path` None is the toy world; device and dtype may be "auto"."""

    path: Path | None = None
    vae: Path | None = None
    family: str = AUTO
    device: str = "auto"
    dtype: str = "auto"
    lora: Path | None = None
    fp8: bool = False
    decoder: Path | None = None

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> ModelChoice:
        """Raises DummyForcingError for options that do not go together or files that do not exist."""
        if args.model == TOY:
            _refuse(
                args,
                ("family", "lora", "vae", "decoder", "embedding"),
                "goes with --model PATH, the toy world has its own",
            )
            return cls(device=args.device, dtype=args.dtype, fp8=args.fp8)
        if not args.embedding:
            raise DummyForcingError(
                "a Wan checkpoint needs its prompt as text-encoder output; give --embedding FILE.safetensors"
            )
        return cls(
            path=Path(args.model),
            vae=args.vae,
            family=args.family or AUTO,
            device=args.device,
            dtype=args.dtype,
            lora=args.lora,
            fp8=args.fp8,
            decoder=getattr(args, "decoder", None),  # profiling decodes nothing
        )


Opener = Callable[[ModelChoice], "ARVideoModel"]


def open_model(choice: ModelChoice) -> ARVideoModel:
    """Open the chosen model; DummyForcingError if that cannot be done."""
    device = pick_device(choice.device)
    dtype = pick_dtype(choice.dtype, device, toy=choice.path is None)
    if choice.path is None:
        from ..core.world.toy import open_toy_world

        return open_toy_world(device, dtype, choice.fp8)
    from ..core.checkpoints.model import open_checkpoint

    return open_checkpoint(
        choice.path,
        vae=choice.vae,
        family=choice.family,
        lora=choice.lora,
        device=device,
        dtype=dtype,
        fp8=choice.fp8,
        decoder=choice.decoder,
    )


def pick_device(name: str) -> torch.device:
    """ "auto" prefers a GPU; DummyForcingError when "cuda" is asked for and there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise DummyForcingError("this PyTorch sees no CUDA device; use --device cpu or install a CUDA build of it")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device, *, toy: bool) -> torch.dtype:
    """ "auto" is bfloat16 for checkpoints on a GPU, else float32."""
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" and not toy else "float32"
    return getattr(torch, name)


def embed(prompt: str, embedding: Path | None) -> Tensor:
    """The text embedding [1, L, D] fp32 in a file, or that of a toy-world prompt if there is no file."""
    if embedding is None:
        from ..core.world.vocabulary import embed_prompt

        return embed_prompt(prompt)
    from ..core.checkpoints.text_embedding import load_text_embedding

    return load_text_embedding(embedding)


def check_decodable(model: ARVideoModel) -> None:
    """Raise DummyForcingError if the model came without a decoder."""
    if model.vae is None and model.decoder is None:
        raise DummyForcingError("frames need a VAE to decode them; give --vae wan_2.1_vae.safetensors")


def check_encodable(model: ARVideoModel, given: bool) -> None:
    """Raise DummyForcingError if frames, `given` ones or those of rollouts, must be encoded and there is no VAE."""
    if model.vae is not None:
        return
    if given:
        raise DummyForcingError("given frames need a VAE to encode them; give --vae wan_2.1_vae.safetensors")
    rollout = family_loop(model.family).rollout
    if rollout is not None and rollout.context:
        raise DummyForcingError(
            f"{model.family.title} encodes frames of its own in the course of a video and needs a VAE for it; "
            "give --vae wan_2.1_vae.safetensors"
        )


def count_latents(latents: int | None, seconds: float | None, default: int, chunk: int, opening: int = 0) -> int:
    """Length in latent frames: an `opening` of given ones, then whole chunks.

    `latents` must already be such a length; `seconds`, at FRAME_RATE pixel frames each, is rounded up to one.
    Without either, `default` latent frames follow the opening. Raises DummyForcingError that names the nearest
    lengths that would do.
    """
    if latents is None:
        if seconds is None:
            return opening + default
        frames = math.ceil(seconds * FRAME_RATE)
        wanted = 1 + math.ceil((frames - 1) / FRAMES_PER_LATENT)
        return opening + chunk * max(1, math.ceil((wanted - opening) / chunk))
    if not is_whole(latents, chunk, opening):
        nearest = " or ".join(str(length) for length in fitting_lengths(latents, chunk, opening))
        behind = f" behind {opening} given ones" if opening else ""
        raise DummyForcingError(
            f"{latents} latent frames cannot be cut into chunks of {chunk}{behind}; use --latents {nearest}"
        )
    return latents


def check_fits(model: ARVideoModel, config: StreamConfig, decodes: bool = True) -> None:
    """Raise DummyForcingError for a video that cannot fit into memory, before anything is allocated for it.

    decodes: whether its frames will be decoded.
    """
    shape = model.backbone.shape
    video = config.video_shape(
        shape.layers, shape.heads, head_dim=shape.head_dim, dtype=model.dtype, device=model.device
    )
    decoder = model.begin_decoding() if decodes else None
    demand = Demand(shape.dim, shape.ffn_dim, config.memory, video, decoder)
    where = "the computer" if model.device.type == "cpu" else "the GPU"
    check_room(demand, free_bytes(model.device), where, _TYPED)


def say_family(console: Console, args: argparse.Namespace, model: ARVideoModel) -> None:
    """Print how a checkpoint is run and why."""
    if args.model != TOY:
        say(console, f"{args.model} is run as {model.family.title}: {model.reason}")
        for note in model.notes:
            say(console, f"  {note}")
    if model.decoder is not None:
        say(console, f"{args.decoder} decodes: {model.decoder.reason}")


def describe_model(args: argparse.Namespace, model: ARVideoModel) -> dict[str, Any]:
    """What a report says about the model."""
    return {
        "path": args.model,
        "family": model.family.name,
        "fingerprint": model.fingerprint,
        "fp8": describe_fp8(model.backbone, model.device),
        "decoder": model.decoder and model.decoder.to_dict(),
    }


def _refuse(args: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    for name in names:
        if getattr(args, name, None) is not None:
            raise DummyForcingError(f"--{name.replace('_', '-')} {reason}; leave it out")
