"""The node AR KV Quantisation."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..core.memory.quantised_frames import FORMATS
from ..core.memory.quantised_kv import QuantisedKV
from .host import memory_config, with_memory


class ARKVQuantisation(io.ComfyNode):
    """Holds the history of an AR model in 8 bits."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingKVQuantisation",
            display_name="AR KV Quantisation",
            category="video/dummy forcing",
            description=(
                "Holds the KV cache in 8 bits: about half the memory, at a small error. Combines with a Dummy "
                "Forcing Patch or an AR KV Window, in any order. It saves memory and no time."
            ),
            search_aliases=["kv cache int8", "kv quantization", "kivi", "low vram", "fp8 kv", "long context"],
            inputs=[
                io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node."),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default=QuantisedKV().format,
                    tooltip="int8 has the smaller error; fp8 (e4m3) takes as much memory.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with its KV cache in 8 bits. The model that came in stays as it is.",
                )
            ],
        )

    @classmethod
    def execute(cls, model, format: str) -> io.NodeOutput:  # ComfyUI passes inputs by name
        return io.NodeOutput(with_memory(model, replace(memory_config(model), merge=QuantisedKV(format))))
