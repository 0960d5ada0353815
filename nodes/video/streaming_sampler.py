"""The node AR Streaming Sampler."""

from __future__ import annotations

from comfy_api.latest import io

from ...core.stream.prompt_times import PromptPlan
from ..schema import node_schema
from .ar_sampler import NOISE_RULES, ARStreamingSampler
from .inputs import clean_pass_inputs
from .prompt_schedule import NO_LATER_PROMPTS, prompts_input
from .stops import STOPS


class ARStreamingSamplerNode(io.ComfyNode):
    """Our chunk loop for SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="DummyForcingStreamingSampler",
            display_name="AR Streaming Sampler",
            description=(
                "Samples an AR video model chunk by chunk in SamplerCustomAdvanced. Counts progress in chunks x "
                "passes, previews the chunk at hand, keeps what is finished when you press stop, and works with "
                "CFG, batches, start images (ARVideoI2V) and video to video. Honours a Dummy Forcing Patch or AR "
                "KV Window on the model; without one the whole history is kept."
            ),
            search_aliases=["sampler ar video", "autoregressive sampler", "self forcing", "causal forcing"],
            inputs=[
                io.Int.Input(
                    "chunk_frames",
                    default=3,
                    min=1,
                    max=64,
                    tooltip="Latent frames sampled together: 3 for chunkwise models, 1 for framewise ones.",
                ),
                io.Combo.Input(
                    "noise_rule",
                    options=list(NOISE_RULES),
                    default=NOISE_RULES[0],
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "portable: the seed gives the same video on every device, and near-by seeds share nothing. "
                        "ComfyUI: the numbers of ComfyUI's own SamplerARVideo, to repeat a video made with it."
                    ),
                ),
                *clean_pass_inputs(),
                prompts_input(),
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> int:
        return STOPS.count(inputs)

    @classmethod
    def execute(
        cls,
        chunk_frames: int,
        noise_rule: str = NOISE_RULES[0],
        context_noise: float = 0.0,
        refine: bool = False,
        prompts: PromptPlan = NO_LATER_PROMPTS,
    ) -> io.NodeOutput:
        sampler = ARStreamingSampler(
            chunk_frames,
            noise_rule,
            stopped=STOPS.counter(),
            prompts=prompts,
            context_noise=context_noise,
            refine=refine,
        )
        return io.NodeOutput(sampler)
