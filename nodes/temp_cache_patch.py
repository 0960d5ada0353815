"""The node TempCache Patch."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from comfy_api.latest import io

from ..core.memory.correspondence import Compare, Place
from ..core.memory.temp_cache import TempCache, Values
from .host import memory_config, with_memory
from .inputs import FINE_STEP

_DEFAULT = TempCache()


class TempCachePatch(io.ComfyNode):
    """Holds tokens that stay alike from frame to frame once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingTempCache",
            display_name="TempCache Patch",
            category="video/dummy forcing",
            description=(
                "Merges what does not change: a token that looks like the one at its place in the frame before is "
                "held once and counts as often as it was seen. A long history fits into a budget of a few frames. "
                "Combines with an AR KV Window, and with a Dummy Forcing Patch of 2 chunks of local context or "
                "more, in any order. Replaces AR KV Quantisation."
            ),
            search_aliases=["fast-ar", "merge tokens", "kv cache", "world model", "long video", "compression"],
            inputs=[
                io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node."),
                io.Float.Input(
                    "similarity",
                    default=_DEFAULT.similarity,
                    min=0.01,
                    max=1.0,
                    step=FINE_STEP,
                    tooltip="Cosine of two keys above which tokens are alike. Higher is closer; 1 merges nothing.",
                ),
                io.Int.Input(
                    "budget",
                    default=_DEFAULT.budget,
                    min=2,
                    max=4096,
                    tooltip=(
                        "Latent frames' worth of tokens that a head holds at most. Tokens that were seen in the "
                        "fewest frames go first."
                    ),
                ),
                *_details(),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with a merged KV cache. The model that came in stays as it is.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        similarity: float,
        budget: int,
        sink: int = _DEFAULT.sink,
        correspondence: Place = _DEFAULT.correspondence,
        compare: Compare = _DEFAULT.compare,
        values: Values = _DEFAULT.values,
    ) -> io.NodeOutput:
        merge = TempCache(similarity, budget, sink, correspondence, compare, values)
        return io.NodeOutput(with_memory(model, replace(memory_config(model), merge=merge)))


def _details() -> list[io.Input]:
    """What seldom has to be changed."""
    rare = {"optional": True, "advanced": True}
    return [
        io.Int.Input(
            "sink",
            default=_DEFAULT.sink,
            min=0,
            max=1024,
            tooltip="First latent frames that stay as they are. With an AR KV Window, that node's sink counts.",
            **rare,
        ),
        io.Combo.Input(
            "correspondence",
            options=list(get_args(Place)),
            default=_DEFAULT.correspondence,
            tooltip=(
                "Where in the frame before a token is looked for: at the same place, in the 3 x 3 places around "
                "it, or anywhere. The latter two follow what moves, and take more time."
            ),
            **rare,
        ),
        io.Combo.Input(
            "compare",
            options=list(get_args(Compare)),
            default=_DEFAULT.compare,
            tooltip="Keys without their positions, or as attention sees them, which merges less.",
            **rare,
        ),
        io.Combo.Input(
            "values",
            options=list(get_args(Values)),
            default=_DEFAULT.values,
            tooltip="What merged tokens are read as: the mean, as published, or the newest, which moves better.",
            **rare,
        ),
    ]
