"""Sizes of a causal Wan backbone, read off its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from ..errors import DummyForcingError

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 2  # latent pixels per token side; the temporal patch of every Wan 2.1 model is 1
WAN_HEAD_DIM = 128
TEXT_TOKENS = 512
"""Length to which Wan's text-encoder output is padded (docs/references.md, "Wan 2.1's sizes")."""
TOY_TEXT_DIM = 16
"""Channels of the toy world's text embeddings (no other model has 16): 13 words, 2 objects, 1 set in each token."""


@dataclass(frozen=True)
class WanShape:
    """Everything a Wan text-to-video backbone's tensors say about it, plus the number of heads.

    `heads` is the one size that no tensor shows: all released Wan models use heads of 128 channels, other
    files must give the number in their metadata (`num_heads`).
    """

    dim: int
    heads: int
    layers: int
    ffn_dim: int
    text_dim: int = 4096
    in_channels: int = 16
    out_channels: int = 16
    freq_dim: int = 256

    def __post_init__(self) -> None:
        if self.heads < 1 or self.dim % self.heads or (self.dim // self.heads) % 2:
            raise DummyForcingError(
                f"{self.heads} heads do not divide a width of {self.dim} into even parts; "
                "correct num_heads in the file's config metadata"
            )

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], heads: int | None = None) -> WanShape:
        """Derive the sizes from a state dict with bare Wan key names.

        Raises:
            DummyForcingError: a defining key is missing, or the number of heads is neither given nor derivable.
        """
        try:
            dim, in_channels = state["patch_embedding.weight"].shape[:2]
            ffn_dim = state["blocks.0.ffn.0.weight"].shape[0]
            text_dim = state["text_embedding.0.weight"].shape[1]
            freq_dim = state["time_embedding.0.weight"].shape[1]
            out_channels = state["head.head.weight"].shape[0] // PATCH**2
        except KeyError as missing:
            raise DummyForcingError(
                f"not a Wan backbone: key {missing} is missing; expected a Wan 2.1 text-to-video state dict with "
                "keys such as 'patch_embedding.weight' and 'blocks.0.self_attn.q.weight'"
            ) from None
        if heads is None:
            if dim % WAN_HEAD_DIM:
                raise DummyForcingError(
                    f"cannot tell the number of heads of a Wan model of width {dim}; add "
                    '{"transformer": {"num_heads": N}} as "config" to the file\'s metadata'
                )
            heads = dim // WAN_HEAD_DIM
        layers = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
        return cls(dim, heads, layers, ffn_dim, text_dim, in_channels, out_channels, freq_dim)

    @classmethod
    def from_dict(cls, values: Mapping[str, int]) -> WanShape:
        """Inverse of `to_dict`; unknown keys are an error."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise DummyForcingError(f"unknown model sizes {sorted(unknown)}; expected the sizes of WanShape")
        return cls(**values)

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    def tokens_per_frame(self, height: int, width: int) -> int:
        """Tokens of one latent frame of `height` x `width` latent pixels."""
        return (height // PATCH) * (width // PATCH)


WAN_1_3B = WanShape(dim=1536, heads=12, layers=30, ffn_dim=8960)
WAN_14B = WanShape(dim=5120, heads=40, layers=40, ffn_dim=13824)
