"""The node AR Pass Skip."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...core.methods.pass_skip import PassSkip, parse_passes
from ..host.patching import with_skip
from ..schema import patch_schema
from .option_inputs import option_input

BY_LIST, BY_CHANGE = "these passes", "small changes (TeaCache)"
_AUTHORS_THRESHOLD = 0.2


class ARPassSkip(io.ComfyNode):
    """Skips denoising passes of an AR model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingPassSkip",
            display_name="AR Pass Skip",
            description=(
                "Leaves out the model's blocks in some denoising passes and reuses what they did in the pass "
                "before: one of four passes saves about a fifth of the time, for some quality. Needs no training. "
                "Combines with a Dummy Forcing Patch or an AR KV Window, in any order. Works with Stream AR "
                "Video, the AR Streaming Sampler and ComfyUI's own SamplerARVideo. Replaces an earlier one."
            ),
            search_aliases=["teacache", "skip steps", "step skipping", "residual cache", "faster"],
            inputs=[
                io.DynamicCombo.Input(
                    "skip",
                    options=[
                        io.DynamicCombo.Option(
                            BY_LIST,
                            [option_input(PassSkip, "passes", default="1")],
                        ),
                        io.DynamicCombo.Option(
                            BY_CHANGE,
                            [option_input(PassSkip, "threshold", default=_AUTHORS_THRESHOLD)],
                        ),
                    ],
                    tooltip=(
                        "How passes are chosen. With few steps a list is best; for many steps, TeaCache's rule "
                        "skips where the timestep changes little. It chooses the same passes in every chunk."
                    ),
                ),
            ],
            gives="The model with skipped passes.",
        )

    @classmethod
    def execute(cls, model, skip: dict[str, Any]) -> io.NodeOutput:
        if skip["skip"] == BY_LIST:
            return io.NodeOutput(with_skip(model, PassSkip(passes=parse_passes(skip["passes"]))))
        return io.NodeOutput(with_skip(model, PassSkip(threshold=skip["threshold"])))
