"""The node Light Forcing Patch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...core.methods.light_forcing import LightForcing
from ..host.patched_models import memory_config
from ..host.patching import with_memory
from ..schema import patch_schema
from .option_inputs import option_input

FREE, TUNED, TUNED_LONG, CUSTOM = "training-free", "tuned weights", "tuned weights, long video", "custom"
_ALL = (
    "sparsity",
    "base",
    "keep_frames",
    "sink",
    "near",
    "dense_first_pass",
    "dense_clean_pass",
    "keep_current",
)
_TUNED = {TUNED: LightForcing.tuned(), TUNED_LONG: LightForcing.tuned_long()}
_OWN_BLOCKS = 0


class LightForcingPatch(io.ComfyNode):
    """Lets queries read only the blocks of keys that matter to them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingLightForcing",
            display_name="Light Forcing Patch",
            description=(
                "Sparse attention over the KV cache: every block of queries reads the frames and blocks of keys "
                "that fit it, fewer with every chunk. Saves time, not memory, where contexts are long or frames "
                "large. Combines with a Dummy Forcing Patch of a long local context (its neighbor heads select) or "
                "an AR KV Window, in any order. Works with Stream AR Video, the AR Streaming Sampler and ComfyUI's "
                "own SamplerARVideo. Replaces an earlier one."
            ),
            search_aliases=["sparse attention", "block sparse", "top-k", "faster", "720p", "1080p", "long context"],
            inputs=[
                io.DynamicCombo.Input(
                    "preset",
                    options=[
                        io.DynamicCombo.Option(FREE, _always("sparsity")),
                        io.DynamicCombo.Option(TUNED, []),
                        io.DynamicCombo.Option(TUNED_LONG, []),
                        io.DynamicCombo.Option(CUSTOM, _always(*_ALL)),
                    ],
                    tooltip=(
                        "training-free is mild and for any model. The published quality needs the authors' tuned "
                        "weights (Hugging Face: mack-williams/Light-Forcing); the tuned presets have their values, "
                        "for clips of up to 5 s and for longer ones in a window of 12 latent frames. Other models "
                        "lose quality by them."
                    ),
                ),
                option_input(
                    LightForcing,
                    "block_q",
                    default=_OWN_BLOCKS,
                    min=0,
                    tooltip=(
                        "Most tokens of a block, of queries and of keys. 0 for 128 and 64. Smaller ones choose "
                        "more finely and cost more; the toy world, with 36 tokens a frame, needs about 12."
                    ),
                ),
            ],
            gives="The model with sparse attention.",
        )

    @classmethod
    def execute(cls, model, preset: dict[str, Any], block_size: int = _OWN_BLOCKS) -> io.NodeOutput:
        options = dict(preset)
        name = options.pop("preset")
        if "base" in options:
            options["base"] = options["base"] or None
        method = _TUNED.get(name) or LightForcing(**options)
        if block_size != _OWN_BLOCKS:
            method = replace(method, block_q=block_size, block_k=block_size)
        return io.NodeOutput(with_memory(model, replace(memory_config(model), select=method)))


def _always(*fields: str) -> list[io.Input]:
    """Inputs of a choice: all of them are shown with it, none as an advanced one."""
    return [option_input(LightForcing, field, optional=False, advanced=None) for field in fields]
