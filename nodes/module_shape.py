"""Sizes of the host's backbone."""

from __future__ import annotations

from ..core.wan.shape import WanShape


def shape_of(module) -> WanShape:
    """Sizes of a backbone by the module's own numbers: its tensors may be packed (quantised, GGUF)."""
    return WanShape(
        dim=module.dim,
        heads=module.num_heads,
        layers=len(module.blocks),
        ffn_dim=module.ffn_dim,
        text_dim=module.text_dim,
        in_channels=module.in_dim,
        out_channels=module.out_dim,
        freq_dim=module.freq_dim,
    )
