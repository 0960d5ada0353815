"""The node Light Forcing Patch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..core.memory.light_forcing import LightForcing
from .host import memory_config, with_memory
from .inputs import FINE_STEP

FREE, TUNED, TUNED_LONG, CUSTOM = "training-free", "tuned weights", "tuned weights, long video", "custom"
_DEFAULT = LightForcing()
_TUNED = {TUNED: LightForcing.tuned(), TUNED_LONG: LightForcing.tuned_long()}
_OWN_BASE = 0.0
_OWN_BLOCKS = 0


class LightForcingPatch(io.ComfyNode):
    """Lets queries read only the blocks of keys that matter to them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingLightForcing",
            display_name="Light Forcing Patch",
            category="video/dummy forcing",
            description=(
                "Sparse attention over the KV cache: every block of queries reads the frames and blocks of keys "
                "that fit it, fewer with every chunk. Saves time, not memory, where contexts are long or frames "
                "large. Combines with a Dummy Forcing Patch of a long local context (its neighbor heads select) or "
                "an AR KV Window, in any order. Works with Stream AR Video, the AR Streaming Sampler and ComfyUI's "
                "own SamplerARVideo. Replaces an earlier one."
            ),
            search_aliases=["sparse attention", "block sparse", "top-k", "faster", "720p", "1080p", "long context"],
            inputs=[
                io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node."),
                io.DynamicCombo.Input(
                    "preset",
                    options=[
                        io.DynamicCombo.Option(FREE, [_sparsity()]),
                        io.DynamicCombo.Option(TUNED, []),
                        io.DynamicCombo.Option(TUNED_LONG, []),
                        io.DynamicCombo.Option(CUSTOM, [_sparsity(), *_details()]),
                    ],
                    tooltip=(
                        "training-free is mild and for any model. The published quality needs the authors' tuned "
                        "weights (Hugging Face: mack-williams/Light-Forcing); the tuned presets have their values, "
                        "for clips of up to 5 s and for longer ones in a window of 12 latent frames. Other models "
                        "lose quality by them."
                    ),
                ),
                io.Int.Input(
                    "block_size",
                    default=_OWN_BLOCKS,
                    min=0,
                    max=1024,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Most tokens of a block, of queries and of keys. 0 for 128 and 64. Smaller ones choose "
                        "more finely and cost more; the toy world, with 36 tokens a frame, needs about 12."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with sparse attention. The model that came in stays as it is.",
                )
            ],
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


def _sparsity() -> io.Float.Input:
    return io.Float.Input(
        "sparsity",
        default=_DEFAULT.sparsity,
        min=0.0,
        max=0.98,
        step=FINE_STEP,
        tooltip=(
            "Share of the keys that is not read, mean over the video: early chunks are denser, the first is dense. "
            "0 reads everything."
        ),
    )


def _details() -> list[io.Input]:
    return [
        io.Float.Input(
            "base",
            default=_OWN_BASE,
            min=0.0,
            max=0.99,
            step=FINE_STEP,
            tooltip="What sparsity tends to as the video goes on. 0 for 0.1 above the sparsity, as the authors do.",
        ),
        io.Int.Input(
            "keep_frames",
            default=_DEFAULT.keep_frames,
            min=0,
            max=1024,
            tooltip=(
                "Past latent frames that a block of queries may read: sink, near and those that fit best. Heads "
                "that hold no more than this read all of them."
            ),
        ),
        io.Int.Input(
            "sink",
            default=_DEFAULT.sink,
            min=0,
            max=1024,
            tooltip="First latent frames of the video that may always be read.",
        ),
        io.Int.Input(
            "near",
            default=_DEFAULT.near,
            min=0,
            max=1024,
            tooltip="Latest latent frames that may always be read.",
        ),
        io.Boolean.Input(
            "dense_first_pass",
            default=_DEFAULT.dense_first_pass,
            tooltip="Read everything in the first pass of a chunk, which lays out the picture.",
        ),
        io.Boolean.Input(
            "dense_clean_pass",
            default=_DEFAULT.dense_clean_pass,
            tooltip="Read everything in the pass whose keys and values are kept, so that errors do not add up.",
        ),
        io.Boolean.Input(
            "keep_current",
            default=_DEFAULT.keep_current,
            tooltip="Always read the whole current chunk; sparsity is then that of the history.",
        ),
    ]
