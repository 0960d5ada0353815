"""The node Dummy Forcing Patch."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from comfy_api.latest import io

from ...core.checkpoints.families.running import family_loop
from ...core.errors import DummyForcingError
from ...core.heads.forced import check_forced_roles, parse_forced_roles
from ...core.heads.profile import HeadProfile
from ...core.methods.dummy_forcing import DummyForcing
from ...core.methods.dummy_forcing.profiled import with_profile
from ..heads.head_maps import OUTPUT, VideoMaps, map_of_profile, publish_own, usual_latents
from ..host.patched_models import causal_backbone, shape_of
from ..host.sampling_hooks import HEADS_KEY
from ..schema import patch_schema
from ..types import HeadProfileType
from ..video.model_facts import facts_of, model_facts
from .option_inputs import from_inputs, option_input, option_inputs
from .positions_input import AUTO, positions_input, with_keep

logger = logging.getLogger("dummy_forcing")


class DummyForcingPatch(io.ComfyNode):
    """Gives every head of a model only the context it uses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return patch_schema(
            node_id="DummyForcingPatch",
            display_name="Dummy Forcing Patch",
            description=(
                "Keeps the KV cache small and flat: heads that hardly look back lose their history, the others "
                "keep the first frame or the last chunk. Needs no training. Works with Stream AR Video, the AR "
                "Streaming Sampler and ComfyUI's own SamplerARVideo. Replaces an AR KV Window."
            ),
            search_aliases=["kv cache", "head-wise", "autoregressive", "long video", "vram", "dummy heads"],
            inputs=[
                *option_inputs(DummyForcing, "dummy_ratio", "local_context"),
                HeadProfileType.Input(
                    "profile",
                    optional=True,
                    tooltip=(
                        "Roles measured beforehand by Profile Dummy Heads on this model. Without it, heads are "
                        "classified while the video begins, anew for every prompt."
                    ),
                ),
                *option_inputs(DummyForcing, "classification_chunk", "cost", "packed_frames"),
                positions_input(),
                option_input(DummyForcing, "forced_roles"),
            ],
            gives="The model with a small KV cache.",
            has_intermediate_output=True,  # the token of its head maps
        )

    @classmethod
    def execute(
        cls,
        model,
        dummy_ratio: float,
        local_context: int,
        profile: HeadProfile | None = None,
        positions: str = AUTO,
        forced_roles: str = "",
        **rare: Any,
    ) -> io.NodeOutput:
        options = {"dummy_ratio": dummy_ratio, "local_context": local_context, **rare}
        options["forced_roles"] = parse_forced_roles(forced_roles)
        shape = shape_of(causal_backbone(model))
        check_forced_roles(options["forced_roles"], shape.layers, shape.heads)
        _check_family(model, profile)
        if profile is not None:
            check_profile(model, profile)
            options = with_profile(options, profile)
        keep = from_inputs(DummyForcing, options)
        patched = with_keep(model, keep, positions)
        return io.NodeOutput(patched, ui=_show_heads(patched, keep, profile))


def _show_heads(patched, keep: DummyForcing, profile: HeadProfile | None) -> dict[str, list[str]]:
    """Put the profile's head map on the node or, without a profile, have the maps of later videos put there.

    Returns what goes into the node's `ui`.
    """
    if profile is None:
        maps = VideoMaps.of_running_node(keep)
        patched.set_attachments(HEADS_KEY, maps)
        return {OUTPUT: [maps.token]}
    return publish_own(partial(map_of_profile, "profile", profile, keep, latent_frames=usual_latents(patched)))


def _check_family(model, profile: HeadProfile | None) -> None:
    """Families whose memory never lives long enough to be measured need a profile."""
    facts = model_facts(model)
    family = facts.family if facts else None
    if family is None or not family.heads_note:
        return
    if family_loop(family).starts_over_each(family.chunk_frames) and profile is None:
        raise DummyForcingError(
            f"{family.heads_note}. Heads cannot be measured while the video is made either: connect a profile of "
            "Profile Dummy Heads, or remove the Dummy Forcing Patch"
        )
    logger.warning("%s: %s", family.title, family.heads_note)


def check_profile(model, profile: HeadProfile) -> None:
    """Raise DummyForcingError unless the profile was measured on this model."""
    facts = facts_of(model)
    if profile.fingerprint != facts.fingerprint:
        layers, heads = profile.roles.shape
        raise DummyForcingError(
            f"the head profile was measured on another model (fingerprint {profile.fingerprint}, {layers} layers x "
            f"{heads} heads; this one is {facts.fingerprint}, {facts.shape.layers} x {facts.shape.heads}); "
            "profile this model with Profile Dummy Heads, or remove the profile to classify online"
        )
