"""The node ANN Attention Patch."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from comfy_api.latest import io

from ..core.memory.ann_ca import AnnCA
from ..core.memory.ann_sa import AnnSA, Searching
from ..core.memory.cross import AllTokens
from .host import memory_config, with_memory
from .inputs import FINE_STEP

_DEFAULT = AnnSA()


class ANNAttentionPatch(io.ComfyNode):
    """Lets queries read only the keys that an approximate search finds for them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingANNAttention",
            display_name="ANN Attention Patch",
            category="video/dummy forcing",
            description=(
                "Sparse attention over long KV caches: an approximate nearest neighbour search finds the keys that "
                "queries want. Saves time, not memory, and only with long contexts. Layers in which it finds too "
                "little stay dense. Combines with the nodes that decide what is kept and how, in any order. "
                "Replaces a Light Forcing Patch."
            ),
            search_aliases=["sparse attention", "annsa", "annca", "lsh", "fast-ar", "long context", "faster"],
            inputs=[
                io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node."),
                io.Combo.Input(
                    "search",
                    options=list(get_args(Searching)),
                    default=_DEFAULT.search,
                    tooltip=(
                        "quant: keys go to the nearest of some 8-bit centroids, the better one. lsh: keys are "
                        "hashed by random projections."
                    ),
                ),
                io.Float.Input(
                    "share",
                    default=_DEFAULT.share,
                    min=0.01,
                    max=1.0,
                    step=FINE_STEP,
                    tooltip="quant: share of the history that a block of queries reads. 1 reads everything.",
                ),
                io.Int.Input(
                    "min_history",
                    default=_DEFAULT.min_frames,
                    min=1,
                    max=4096,
                    tooltip="Latent frames of history below which everything is read: a search has its cost too.",
                ),
                *_details(),
                io.Boolean.Input(
                    "cross_attention",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Let each frame read only the prompt's tokens that are near one of its queries. Changes "
                        "the video for next to no time: cross-attention costs little."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with sparse attention. The model that came in stays as it is.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        search: Searching,
        share: float,
        min_history: int,
        bits: int = _DEFAULT.bits,
        radius: int = _DEFAULT.radius,
        block_size: int = _DEFAULT.block,
        min_recall: float = _DEFAULT.min_recall,
        dense_passes: int = _DEFAULT.dense_passes,
        sparse_clean: bool = _DEFAULT.sparse_clean,
        cross_attention: bool = False,
    ) -> io.NodeOutput:
        select = AnnSA(search, bits, share, radius, block_size, min_history, dense_passes, sparse_clean, min_recall)
        cross = AnnCA() if cross_attention else AllTokens()
        return io.NodeOutput(with_memory(model, replace(memory_config(model), select=select, cross=cross)))


def _details() -> list[io.Input]:
    """What seldom has to be changed."""
    rare = {"optional": True, "advanced": True}
    return [
        io.Int.Input(
            "bits",
            default=_DEFAULT.bits,
            min=1,
            max=10,
            tooltip="The history is put into 2^bits buckets. More tell keys apart more finely.",
            **rare,
        ),
        io.Int.Input(
            "radius",
            default=_DEFAULT.radius,
            min=0,
            max=10,
            tooltip="lsh: buckets are read whose hash differs from a query's in at most so many bits.",
            **rare,
        ),
        io.Int.Input(
            "block_size",
            default=_DEFAULT.block,
            min=1,
            max=1024,
            tooltip="Queries that read the same keys. The toy world, with 108 tokens a chunk, needs about 16.",
            **rare,
        ),
        io.Float.Input(
            "min_recall",
            default=_DEFAULT.min_recall,
            min=0.0,
            max=1.0,
            step=FINE_STEP,
            tooltip=(
                "Layers in which the keys found have less than this share of the attention read everything. "
                "Measured once the history is long enough; 0 switches no layer off."
            ),
            **rare,
        ),
        io.Int.Input(
            "dense_passes",
            default=_DEFAULT.dense_passes,
            min=0,
            max=64,
            tooltip="Denoising passes at the beginning of each chunk that read everything.",
            **rare,
        ),
        io.Boolean.Input(
            "sparse_clean",
            default=_DEFAULT.sparse_clean,
            tooltip="Search in the clean pass too, whose keys and values are kept. Faster, errors stay.",
            **rare,
        ),
    ]
