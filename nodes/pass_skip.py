"""The node AR Pass Skip."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..core.stream.pass_skip import PassSkip, parse_passes
from .host import with_skip
from .inputs import FINE_STEP

BY_LIST, BY_CHANGE = "these passes", "small changes (TeaCache)"
_AUTHORS_THRESHOLD = 0.2


class ARPassSkip(io.ComfyNode):
    """Skips denoising passes of an AR model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingPassSkip",
            display_name="AR Pass Skip",
            category="video/dummy forcing",
            description=(
                "Leaves out the model's blocks in some denoising passes and reuses what they did in the pass "
                "before: one of four passes saves about a fifth of the time, for some quality. Needs no training. "
                "Combines with a Dummy Forcing Patch or an AR KV Window, in any order. Works with Stream AR "
                "Video, the AR Streaming Sampler and ComfyUI's own SamplerARVideo. Replaces an earlier one."
            ),
            search_aliases=["teacache", "skip steps", "step skipping", "residual cache", "faster"],
            inputs=[
                io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node."),
                io.DynamicCombo.Input(
                    "skip",
                    options=[
                        io.DynamicCombo.Option(
                            BY_LIST,
                            [
                                io.String.Input(
                                    "passes",
                                    default="1",
                                    tooltip=(
                                        "Denoising passes of every chunk to skip, with commas in between: 1 is the "
                                        "second pass. The first (0) and the clean pass are always computed. Empty: "
                                        "none."
                                    ),
                                )
                            ],
                        ),
                        io.DynamicCombo.Option(
                            BY_CHANGE,
                            [
                                io.Float.Input(
                                    "threshold",
                                    default=_AUTHORS_THRESHOLD,
                                    min=0.01,
                                    max=100.0,
                                    step=FINE_STEP,
                                    tooltip=(
                                        "Passes are skipped while their estimated changes add up to less. Higher "
                                        "is faster and rougher. The estimate was made for Wan 2.1 1.3B."
                                    ),
                                )
                            ],
                        ),
                    ],
                    tooltip=(
                        "How passes are chosen. With few steps a list is best; for many steps, TeaCache's rule "
                        "skips where the timestep changes little. It chooses the same passes in every chunk."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with skipped passes. The model that came in stays as it is.",
                )
            ],
        )

    @classmethod
    def execute(cls, model, skip: dict[str, Any]) -> io.NodeOutput:
        if skip["skip"] == BY_LIST:
            return io.NodeOutput(with_skip(model, PassSkip(passes=parse_passes(skip["passes"]))))
        return io.NodeOutput(with_skip(model, PassSkip(threshold=skip["threshold"])))
