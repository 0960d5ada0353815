"""The node AR Model Info: what a video will take, before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from comfy_api.latest import io, ui

from ...core.kv_forecast import KVForecast, forecast_kv
from ...core.memory_config import MemoryConfig
from ...core.stream.tally import format_bytes
from ...core.video import VideoShape, pixel_frames, token_grid
from .. import host
from ..live.live_view import show_result
from ..schema import node_schema
from .inputs import chunk_input, length_input, size_inputs
from .model_facts import ARModelInfo, facts_of
from .video_plan import VideoPlan, plan_video


class ARModelInfoNode(io.ComfyNode):
    """Describes a model and forecasts its memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="DummyForcingModelInfo",
            display_name="AR Model Info",
            description=(
                "Says what an AR model is, how it is run, and how much memory a video of a given size and length "
                "will take: dense against patched. Nothing is sampled."
            ),
            search_aliases=["vram", "memory estimate", "kv cache size", "what model is this"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="An AR video model, patched or not."),
                *size_inputs(),
                length_input(),
                chunk_input(),
            ],
            outputs=[io.String.Output(display_name="report", tooltip="All that was found, as text.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model, width: int, height: int, length: int, chunk_frames: int = 0) -> io.NodeOutput:
        facts = facts_of(model)
        steps = 0 if facts.family else 1  # memory does not depend on the steps
        plan = plan_video(facts, width, height, length, steps, chunk_frames)
        memory = _forecast(model, plan)
        patch = [*_describe_patch(model), *_describe_selection(model, plan)]
        beside = host.notices(model)
        report = "\n".join([*_describe_model(facts), *patch, *beside, _describe_video(plan), *memory.lines])
        headline = show_result(memory.headline, cls.hidden.unique_id)
        return io.NodeOutput(report, ui={**ui.PreviewText(report).as_dict(), **headline})


def _describe_model(facts: ARModelInfo) -> list[str]:
    shape, family = facts.shape, facts.family
    lines = [
        f"{facts.source}: {family.title if family else 'family unknown'} ({facts.reason})",
        f"{shape.layers} layers x {shape.heads} heads of {shape.dim // shape.heads} channels, width {shape.dim}, "
        f"fingerprint {facts.fingerprint}",
    ]
    if family:
        lines += [
            f"{family.how_it_runs}; made for {family.latent_frames} latent frames",
            f"licence of the published weights: {family.licence}",
        ]
    return [*lines, family.heads_note] if family and family.heads_note else lines


def _describe_patch(model) -> list[str]:
    """What patch nodes have set besides the memory."""
    skip = host.model_patch(model).skip
    return [] if skip is None else [f"denoising passes: {skip.describe()}"]


def _describe_selection(model, plan: VideoPlan) -> list[str]:
    """Which keys are read, if not all."""
    config = host.memory_config(model)
    said = config.select.schedule(config, _video(model, plan))
    return [] if said is None else [said]


def _video(model, plan: VideoPlan) -> VideoShape:
    shape = (1, host.causal_backbone(model).in_dim, plan.latent_frames, *plan.latent_size)
    return host.planned_video(model, shape, plan.latent_frames, plan.chunk_frames, len(plan.sigmas) - 1)


def _describe_video(plan: VideoPlan) -> str:
    return (
        f"{plan.width} x {plan.height}, {pixel_frames(plan.latent_frames)} frames: {plan.latent_frames} latent "
        f"frames of {math.prod(token_grid(*plan.latent_size))} tokens"
    )


@dataclass(frozen=True)
class _MemoryForecast:
    """Keys and values under the model's own method and dense; weights and one chunk's activations in bytes."""

    method: str
    ours: KVForecast
    dense: KVForecast
    weights: int
    chunk: float

    @property
    def headline(self) -> str:
        """The report in one line, for the node itself."""
        return f"KV {self._most}{format_bytes(self.ours.peak_bytes)} (dense {format_bytes(self.dense.peak_bytes)})"

    @property
    def lines(self) -> list[str]:
        ours, dense, rest, most = self.ours, self.dense, self.weights + self.chunk, self._most
        return [
            f"KV, all frames kept (dense): {format_bytes(dense.peak_bytes)}",
            f"KV with this model's memory ({self.method}): peak {most}{format_bytes(ours.peak_bytes)}, at the "
            f"end {most}{format_bytes(ours.final_bytes)}, {ours.final_bytes / dense.final_bytes:.0%} of dense",
            f"weights {format_bytes(self.weights)}, one chunk in the model about {format_bytes(self.chunk)}",
            f"peak without the decoder: {most}about {format_bytes(rest + ours.peak_bytes)}, dense about "
            f"{format_bytes(rest + dense.peak_bytes)}",
        ]

    @property
    def _most(self) -> str:
        """The words before a figure that depends on how heads are going to be classified."""
        return "at most " if self.ours.bound else ""


def _forecast(model, plan: VideoPlan) -> _MemoryForecast:
    backbone, config, video = host.causal_backbone(model), host.memory_config(model), _video(model, plan)
    ours, dense = (forecast_kv(each, video) for each in (config, MemoryConfig()))
    shape = [1, backbone.in_dim, video.pass_frames, *plan.latent_size]
    return _MemoryForecast(config.keep.name, ours, dense, model.model_size(), model.model.memory_required(shape))
