"""The node AR KV Quantisation."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ...core.methods.kv_quantisation import QuantisedKV
from ..host.patched_models import memory_config
from ..host.patching import with_memory
from ..schema import patch_schema
from .option_inputs import option_inputs


class ARKVQuantisation(io.ComfyNode):
    """Holds the history of an AR model in 8 bits."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingKVQuantisation",
            display_name="AR KV Quantisation",
            description=(
                "Holds the KV cache in 8 bits: about half the memory, at a small error. Combines with a Dummy "
                "Forcing Patch or an AR KV Window, in any order. It saves memory and no time."
            ),
            search_aliases=["kv cache int8", "kv quantization", "kivi", "low vram", "fp8 kv", "long context"],
            inputs=[
                *option_inputs(QuantisedKV),
            ],
            gives="The model with its KV cache in 8 bits.",
        )

    @classmethod
    def execute(cls, model, format: str) -> io.NodeOutput:  # ComfyUI passes inputs by name
        return io.NodeOutput(with_memory(model, replace(memory_config(model), merge=QuantisedKV(format))))
