"""The node TempCache Patch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...core.methods.temp_cache import TempCache
from ..host.patched_models import memory_config
from ..host.patching import with_memory
from ..schema import patch_schema
from .option_inputs import from_inputs, option_inputs


class TempCachePatch(io.ComfyNode):
    """Holds tokens that stay alike from frame to frame only once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingTempCache",
            display_name="TempCache Patch",
            description=(
                "Merges what does not change: a token that looks like the one at its place in the frame before is "
                "held once and counts as often as it was seen. A long history fits into a budget of a few frames. "
                "Combines with an AR KV Window, and with a Dummy Forcing Patch of 2 chunks of local context or "
                "more, in any order. Replaces AR KV Quantisation."
            ),
            search_aliases=["fast-ar", "merge tokens", "kv cache", "world model", "long video", "compression"],
            inputs=[
                *option_inputs(TempCache),
            ],
            gives="The model with a merged KV cache.",
        )

    @classmethod
    def execute(cls, model, similarity: float, budget: int, **rare: Any) -> io.NodeOutput:
        merge = from_inputs(TempCache, {"similarity": similarity, "budget": budget, **rare})
        return io.NodeOutput(with_memory(model, replace(memory_config(model), merge=merge)))
