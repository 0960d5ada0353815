"""The node ANN Attention Patch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...core.methods.ann import AnnCA, AnnSA, Searching
from ...core.methods.plain import AllTokens
from ..host.patched_models import memory_config
from ..host.patching import with_memory
from ..schema import patch_schema
from ..video.inputs import rare_switch
from .option_inputs import from_inputs, option_inputs

_FIELDS = (
    "search",
    "share",
    "min_frames",
    "bits",
    "radius",
    "block",
    "min_recall",
    "dense_passes",
    "sparse_clean",
)


class ANNAttentionPatch(io.ComfyNode):
    """Lets queries read only the keys that an approximate search finds for them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingANNAttention",
            display_name="ANN Attention Patch",
            description=(
                "Sparse attention over long KV caches: an approximate nearest neighbour search finds the keys that "
                "queries want. Saves time, not memory, and only with long contexts. Layers in which it finds too "
                "little stay dense. Combines with the nodes that decide what is kept and how, in any order. "
                "Replaces a Light Forcing Patch."
            ),
            search_aliases=["sparse attention", "annsa", "annca", "lsh", "fast-ar", "long context", "faster"],
            inputs=[
                *option_inputs(AnnSA, *_FIELDS),
                rare_switch(
                    "cross_attention",
                    False,
                    (
                        "Let each frame read only the prompt's tokens that are near one of its queries. Changes "
                        "the video for next to no time: cross-attention costs little."
                    ),
                ),
            ],
            gives="The model with sparse attention.",
        )

    @classmethod
    def execute(
        cls, model, search: Searching, share: float, min_history: int, cross_attention: bool = False, **rare: Any
    ) -> io.NodeOutput:
        options = {"search": search, "share": share, "min_history": min_history, **rare}
        cross = AnnCA() if cross_attention else AllTokens()
        memory = replace(memory_config(model), select=from_inputs(AnnSA, options), cross=cross)
        return io.NodeOutput(with_memory(model, memory))
