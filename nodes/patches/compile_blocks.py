"""The node AR Compile."""

from __future__ import annotations

from comfy_api.latest import io

from ..host.patching import with_compile
from ..schema import patch_schema


class ARCompile(io.ComfyNode):
    """Runs the blocks of an AR model through torch.compile."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingCompile",
            display_name="AR Compile",
            description=(
                "Compiles what lies around attention in an AR model's blocks: norms, scales and projections. The "
                "first chunk of a size takes a minute or more, nothing is compiled again for later chunks, layers "
                "or prompts. Needs a C++ compiler on a CPU, Triton on a GPU; without them the model runs as it is. "
                "Use it in place of ComfyUI's own Torch Compile node, which does not reach chunks."
            ),
            search_aliases=["torch compile", "inductor", "speed up", "faster"],
            gives="The compiled model.",
            is_experimental=True,
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        return io.NodeOutput(with_compile(model))
