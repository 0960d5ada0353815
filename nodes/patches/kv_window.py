"""The node AR KV Window."""

from __future__ import annotations

from comfy_api.latest import io

from ...core.methods.window import Window
from ..schema import patch_schema
from .option_inputs import option_inputs
from .positions_input import AUTO, positions_input, with_keep


class ARKVWindow(io.ComfyNode):
    """The plain baseline: all heads see a few first frames and the latest ones."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingKVWindow",
            display_name="AR KV Window",
            description=(
                "Sliding KV window with a sink, the same for all heads: memory stays flat, whatever the length. "
                "The plain baseline to compare Dummy Forcing with. Replaces a Dummy Forcing Patch."
            ),
            search_aliases=["sliding window", "kv cache", "attention sink", "rolling", "long video"],
            inputs=[
                *option_inputs(Window, "size", "sink"),
                positions_input(),
            ],
            gives="The model with a windowed KV cache.",
        )

    @classmethod
    def execute(cls, model, size: int, sink: int, positions: str = AUTO) -> io.NodeOutput:
        return io.NodeOutput(with_keep(model, Window(sink=sink, size=size), positions))
