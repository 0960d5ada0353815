"""The causal Wan backbone as a module container: parameters under the checkpoints' names and nothing else.

There is no `forward` here on purpose. `forward.forward_chunk` runs a chunk through this container, through the
host's own model or through any other module tree with these names.
"""

from __future__ import annotations

import torch
from torch import nn

from .shape import PATCH, WanShape

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Projections and q/k norms of one attention, self or cross."""

    def __init__(self, dim: int):
        super().__init__()
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = nn.RMSNorm(dim, eps=NORM_EPS)
        self.norm_k = nn.RMSNorm(dim, eps=NORM_EPS)


class Block(nn.Module):
    """One transformer block: self-attention, cross-attention, feed-forward, six modulation vectors."""

    def __init__(self, dim: int, ffn_dim: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS, elementwise_affine=False)
        self.self_attn = Attention(dim)
        self.norm3 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.cross_attn = Attention(dim)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS, elementwise_affine=False)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)


class Head(nn.Module):
    """Final norm, modulation and projection to patches."""

    def __init__(self, dim: int, out_channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS, elementwise_affine=False)
        self.head = nn.Linear(dim, out_channels * PATCH**2)
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)


class CausalWan(nn.Module):
    """Wan 2.1 text-to-video backbone; the attribute names are those of the released checkpoints."""

    def __init__(self, shape: WanShape):
        super().__init__()
        self.shape = shape
        self.num_heads = shape.heads
        self.freq_dim = shape.freq_dim
        dim = shape.dim
        patch = (1, PATCH, PATCH)
        self.patch_embedding = nn.Conv3d(shape.in_channels, dim, kernel_size=patch, stride=patch)
        self.text_embedding = _two_layers(shape.text_dim, dim, nn.GELU(approximate="tanh"))
        self.time_embedding = _two_layers(shape.freq_dim, dim, nn.SiLU())
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim * 6))
        self.blocks = nn.ModuleList(Block(dim, shape.ffn_dim) for _ in range(shape.layers))
        self.head = Head(dim, shape.out_channels)


def _two_layers(inputs: int, dim: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, dim), activation, nn.Linear(dim, dim))
