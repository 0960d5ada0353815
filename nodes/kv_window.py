"""The node AR KV Window."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.memory.window import Window
from .keep import AUTO, positions_input, with_keep

_DEFAULT = Window()


class ARKVWindow(io.ComfyNode):
    """The plain baseline: all heads see a few first frames and the latest ones."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingKVWindow",
            display_name="AR KV Window",
            category="video/dummy forcing",
            description=(
                "Sliding KV window with a sink, the same for all heads: memory stays flat, whatever the length. "
                "The plain baseline to compare Dummy Forcing with. Replaces a Dummy Forcing Patch."
            ),
            search_aliases=["sliding window", "kv cache", "attention sink", "rolling", "long video"],
            inputs=[
                io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node."),
                io.Int.Input(
                    "size",
                    default=_DEFAULT.size,
                    min=1,
                    max=4096,
                    tooltip="Latent frames that a head sees in all: the sink, recent frames and the current chunk.",
                ),
                io.Int.Input(
                    "sink",
                    default=_DEFAULT.sink,
                    min=0,
                    max=1024,
                    tooltip="First latent frames of the video that always stay in sight. 0 for none.",
                ),
                positions_input(),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with a windowed KV cache. The model that came in stays as it is.",
                )
            ],
        )

    @classmethod
    def execute(cls, model, size: int, sink: int, positions: str = AUTO) -> io.NodeOutput:
        return io.NodeOutput(with_keep(model, Window(sink=sink, size=size), positions))
