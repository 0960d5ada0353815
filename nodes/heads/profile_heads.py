"""The node Profile Dummy Heads: what each head of a model looks at."""

from __future__ import annotations

from functools import partial
from typing import get_args

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ...core.checkpoints.families.running import COMMON
from ...core.heads.forced import check_forced_roles, parse_forced_roles
from ...core.heads.heat_map import draw_heat_map
from ...core.heads.measure import (
    MeasuredOn,
    core_set_ratios,
    describe_ratios,
    make_profile,
    profile_recorder,
    recorded_samples,
)
from ...core.heads.profile import HeadProfile
from ...core.heads.programming import Cost
from ...core.heads.roles import describe_roles
from ...core.methods.dummy_forcing import DummyForcing
from .. import host
from ..live.live_view import LiveView, show_text
from ..patches.model_patch import ModelPatch
from ..schema import node_schema
from ..types import HeadProfileType
from ..video.inputs import FINE_STEP, forced_roles_input, seed_input, size_inputs
from ..video.model_facts import ARModelInfo, facts_of
from ..video.prompt_texts import find_text
from ..video.run_stream import run_stream
from ..video.video_plan import VideoPlan, plan_video
from .head_maps import map_of_profile, publish_own, usual_latents
from .measured_samples import MeasuredSamples

_LEAST_CHUNKS = 2
_DEFAULT = DummyForcing()
_MEASURED = MeasuredSamples()


class ProfileDummyHeads(io.ComfyNode):
    """Makes short dense videos and measures every head's attention in them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        conditionings = io.Autogrow.TemplatePrefix(
            io.Conditioning.Input("positive", tooltip="A prompt to measure on; several make a sounder profile."),
            prefix="positive_",
            min=1,
            max=16,
        )
        return node_schema(
            node_id="DummyForcingProfileHeads",
            display_name="Profile Dummy Heads",
            description=(
                "Measures how much attention every head pays to the first frame, to the other history and to its "
                "own chunk, and names the heads that hardly look back. The profile saves the Dummy Forcing Patch "
                "the classification at the start of each video and makes roles the same for every prompt."
            ),
            search_aliases=["head map", "attention heads", "classify heads", "heat map", "dummy heads"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="An AR video model. Patches of its KV cache and skipped passes are left aside."
                ),
                io.Autogrow.Input(
                    "prompts", template=conditionings, tooltip="One video is made for each prompt connected."
                ),
                *size_inputs(),
                io.Int.Input(
                    "chunks",
                    default=3,
                    min=_LEAST_CHUNKS,
                    max=256,
                    tooltip="Chunks of each video; the first has no history and is not measured.",
                ),
                seed_input(),
                io.Float.Input(
                    "dummy_ratio",
                    default=_DEFAULT.dummy_ratio,
                    min=0.0,
                    max=1.0,
                    step=FINE_STEP,
                    tooltip="Share of all heads to call dummy. The patch may ask for another share later.",
                ),
                io.Combo.Input(
                    "cost",
                    options=list(get_args(Cost)),
                    default=_DEFAULT.cost,
                    optional=True,
                    advanced=True,
                    tooltip="How the loss of a head is weighed, see Dummy Forcing Patch.",
                ),
                forced_roles_input(),
            ],
            outputs=[
                HeadProfileType.Output(
                    display_name="profile", tooltip="For the Dummy Forcing Patch and Save Head Profile."
                ),
                io.Image.Output(
                    display_name="heat map",
                    tooltip="Layers x heads; the colour is the role, the shade the attention that speaks for it.",
                ),
                io.String.Output(display_name="report", tooltip="Roles per layer and how stable they are."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            has_intermediate_output=True,  # the token of its head map
        )

    @classmethod
    def execute(
        cls,
        model,
        prompts: io.Autogrow.Type,
        width: int,
        height: int,
        chunks: int,
        seed: int,
        dummy_ratio: float,
        cost: Cost = _DEFAULT.cost,
        forced_roles: str = "",
    ) -> io.NodeOutput:
        forced = parse_forced_roles(forced_roles)
        facts = facts_of(model)
        check_forced_roles(forced, facts.shape.layers, facts.shape.heads)
        plan = _plan(facts, width, height, chunks)
        given = {name: prompt for name, prompt in prompts.items() if prompt is not None}
        samples = _samples(model, plan, list(given.values()), seed, cls.hidden.unique_id)
        on = _measured_on(facts, plan, _texts(cls.hidden, given), seed, _text_tokens(given))
        profile = make_profile(samples, on, dummy_ratio, cost, forced)
        shown = publish_own(partial(map_of_profile, "measured", profile, latent_frames=usual_latents(model)))
        report = _describe(profile)
        said = {**ui.PreviewText(report).as_dict(), **shown}
        return io.NodeOutput(profile, _picture(profile), report, ui=said)


def _plan(facts: ARModelInfo, width: int, height: int, chunks: int) -> VideoPlan:
    plan = plan_video(facts, width, height, length=0, steps=0, chunk_frames=0)
    return VideoPlan(plan.width, plan.height, chunks * plan.chunk_frames, plan.chunk_frames, plan.sigmas)


def _samples(model, plan: VideoPlan, prompts: list, seed: int, node_id: str | None) -> list[Tensor]:
    """The samples of each video; not measured again where only what follows from them has changed."""
    on = {"model": model, "plan": vars(plan), "prompts": prompts, "seed": seed}
    samples = _MEASURED.find(node_id, on)
    if samples is None:
        samples = _measure(model, plan, prompts, seed, node_id)
        _MEASURED.keep(node_id, on, samples)
    else:
        show_text("measured before, roles are new", node_id)
    return samples


def _measure(model, plan: VideoPlan, prompts: list, seed: int, node_id: str | None) -> list[Tensor]:
    backbone = host.causal_backbone(model)
    config = plan.stream_config(backbone.in_dim, COMMON)
    recorder = profile_recorder(len(backbone.blocks))
    passes = config.total_passes
    samples = []
    for index, prompt in enumerate(prompts):
        view = LiveView(model, node_id, config, index * passes, len(prompts) * passes)
        recorder.clear()
        run_stream(model, prompt, plan, seed, ModelPatch(), view.add, observers=(recorder,), keep_partial=False)
        samples.append(recorded_samples(recorder))
        show_text(f"prompt {index + 1}/{len(prompts)} measured", node_id)
    return samples


def _texts(hidden, given: dict) -> tuple[str, ...]:
    """The words of the prompts. They do not travel on the wire; if they are not found, the input's name is used."""
    return tuple(find_text(hidden.prompt, hidden.unique_id, f"prompts.{name}") or name for name in given)


def _text_tokens(given: dict) -> int:
    """Tokens of the longest prompt; a conditioning is a list of (embedding [1, L, text_dim], options)."""
    return max(embedding.shape[1] for prompt in given.values() for embedding, _ in prompt)


def _measured_on(
    facts: ARModelInfo, plan: VideoPlan, prompts: tuple[str, ...], seed: int, text_tokens: int
) -> MeasuredOn:
    return MeasuredOn(
        fingerprint=facts.fingerprint,
        shape=facts.shape.to_dict(),
        prompts=prompts,
        seeds=(seed,),
        latent_size=plan.latent_size,
        latent_frames=plan.latent_frames,
        chunk_frames=plan.chunk_frames,
        text_tokens=text_tokens,
        sigmas=plan.sigmas,
    )


def _picture(profile: HeadProfile) -> Tensor:
    """The heat map as an IMAGE [1, H, W, 3]."""
    picture = draw_heat_map(profile.masses, profile.roles)
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(1, picture.height, picture.width, 3).float() / 255


def _describe(profile: HeadProfile) -> str:
    """Roles and masses layer by layer, then stability."""
    lines = [describe_roles(profile.roles)]
    for layer, (roles, masses) in enumerate(zip(profile.roles, profile.masses, strict=True)):
        own = ", ".join(f"{mass:.0%}" for mass in masses[:, 2].tolist())
        lines.append(f"layer {layer}: {describe_roles(roles)}; attention to the own chunk: {own}")
    return "\n".join([*lines, describe_ratios(core_set_ratios(profile))])
