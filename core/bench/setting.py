"""What a benchmark is to measure, and how much memory it needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import DummyForcingError
from ..kv_forecast import forecast_kv
from ..memory_config import MemoryConfig
from ..methods.pass_skip import PassSkip
from ..stream.config import StreamConfig
from ..stream.sigmas import even_steps, warp_steps
from ..video import FRAMES_PER_LATENT, PIXELS_PER_LATENT, VideoShape
from ..wan.compiled import compiled_parts
from ..wan.forward import STANDALONE, Runtime
from ..wan.fp8_linear import use_fp8_linears
from ..wan.shape import PATCH, TEXT_TOKENS
from .shapes import BenchShape, backbone_outline, decoder_outline, parameter_bytes
from .typed_memories import BenchPolicy, with_roles

_SHIFT = 5.0  # of the noise levels; the same in every chunkwise Wan family
_BLOCK_COPIES = 12  # activations of the model's width that are alive in a block, roughly
_DECODER_COPIES = 6  # likewise in the decoder's outermost level


@dataclass(frozen=True)
class BenchSetting:
    """All that a benchmark depends on.

    Attributes:
        shape: model and VAE; with random weights.
        latent_size: height and width in latent pixels.
        lengths: of videos in latent frames; without `clip` only the last chunk of each is measured, after a history
            of random keys and values.
        clip: measure all chunks of a video instead, as they are generated.
        policies: in the order in which they take turns.
        steps: denoising passes a chunk; a clean one follows.
        repeats, warm_up: samples that count, and those before them that do not.
        decode: measure the decoder too.
        fp8: run the blocks' linear layers in FP8.
        compile: run the blocks through `torch.compile`; the first warm-up compiles.
    """

    shape: BenchShape
    latent_size: tuple[int, int]
    lengths: tuple[int, ...]
    policies: tuple[BenchPolicy, ...]
    device: torch.device
    dtype: torch.dtype
    chunk_frames: int = 3
    steps: int = 4
    clip: bool = False
    repeats: int = 5
    warm_up: int = 1
    seed: int = 0
    skip: PassSkip | None = None
    decode: bool = True
    fp8: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.fp8:
            use_fp8_linears(backbone_outline(self.shape.wan))  # raises for sizes that FP8 does not support
        if self.clip and len(self.lengths) > 1:
            raise DummyForcingError("--clip measures every shorter length as well; give --clip one length")
        for length in self.lengths:
            for policy in self.policies:
                self.stream(policy.memory, length)  # raises for an impossible length, size or list of passes
                policy.memory.check_video(self.video_shape(length))
                policy.memory.keep.begin(self.video_shape(length))

    @property
    def runtime(self) -> Runtime:
        """How blocks are run."""
        return Runtime(parts=compiled_parts()) if self.compile else STANDALONE

    @property
    def tokens(self) -> int:
        """Tokens of a chunk."""
        return self.chunk_frames * self.tokens_per_frame

    @property
    def tokens_per_frame(self) -> int:
        return self.latent_size[0] * self.latent_size[1] // PATCH**2

    @property
    def chunk_pixel_frames(self) -> int:
        """Video frames of a chunk; the first chunk of a video has fewer."""
        return self.chunk_frames * FRAMES_PER_LATENT

    def video_shape(self, length: int) -> VideoShape:
        """What methods may know of the model and a video."""
        wan = self.shape.wan
        return self.stream(MemoryConfig(), length).video_shape(
            wan.layers, wan.heads, head_dim=wan.head_dim, dtype=self.dtype, device=self.device
        )

    def stream(self, memory: MemoryConfig, length: int) -> StreamConfig:
        """The configuration of the video that a policy makes."""
        return StreamConfig(
            sigmas=warp_steps(even_steps(self.steps), _SHIFT),
            chunk_frames=self.chunk_frames,
            total_frames=length,
            latent_size=self.latent_size,
            channels=self.shape.wan.in_channels,
            memory=memory,
            skip=self.skip,
        )

    def given(self, memory: MemoryConfig) -> MemoryConfig:
        """The memory with roles drawn, since a random history cannot be measured; see `with_roles`."""
        return with_roles(memory, self.shape.wan.layers, self.shape.wan.heads, self.seed)

    def needed_bytes(self, workers: int = 0) -> int:
        """A rough upper estimate of the memory that the benchmark takes.

        All policies hold their KV memory at the same time. workers: how many other programs run, each with weights
        and a dense memory of its own.
        """
        outline, size = backbone_outline(self.shape.wan), self.dtype.itemsize
        longest = max(self.lengths)
        weights = parameter_bytes(outline, self.dtype)
        dense = 2 * longest * self.tokens_per_frame * self.shape.wan.dim * self.shape.wan.layers * size
        block = self.tokens * (_BLOCK_COPIES * self.shape.wan.dim + 2 * self.shape.wan.ffn_dim) * size
        prompt = 2 * TEXT_TOKENS * self.shape.wan.dim * self.shape.wan.layers * size
        held = sum(self._kv_bytes(policy.memory, longest) for policy in self.policies)
        return held + (1 + workers) * (weights + block + prompt) + workers * dense + self._decoder_bytes()

    def _kv_bytes(self, memory: MemoryConfig, length: int) -> int:
        return forecast_kv(self.given(memory), self.video_shape(length)).peak_bytes

    def _decoder_bytes(self) -> int:
        if not self.decode:
            return 0
        height, width = (PIXELS_PER_LATENT * side for side in self.latent_size)
        level = self.shape.vae.width * self.chunk_pixel_frames * height * width
        weights = parameter_bytes(decoder_outline(self.shape.vae), self.dtype)
        return weights + _DECODER_COPIES * level * self.dtype.itemsize
