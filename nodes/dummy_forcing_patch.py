"""The node Dummy Forcing Patch."""

from __future__ import annotations

import logging
from functools import partial
from typing import get_args

from comfy_api.latest import io

from ..core.checkpoints.running import family_loop
from ..core.errors import DummyForcingError
from ..core.heads.forced import check_forced_roles, parse_forced_roles
from ..core.heads.profile import HeadProfile
from ..core.heads.programming import Cost
from ..core.memory.dummy_forcing import DummyForcing
from ..core.memory.profiled import with_profile
from .head_maps import OUTPUT, VideoMaps, map_of_profile, publish_own, usual_latents
from .host import HEADS_KEY, causal_backbone
from .inputs import FINE_STEP, forced_roles_input
from .keep import AUTO, positions_input, with_keep
from .model_facts import facts_of, model_facts
from .module_shape import shape_of
from .types import HeadProfileType

logger = logging.getLogger("dummy_forcing")

_DEFAULT = DummyForcing()


class DummyForcingPatch(io.ComfyNode):
    """Gives every head of a model only the context it uses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DummyForcingPatch",
            display_name="Dummy Forcing Patch",
            category="video/dummy forcing",
            description=(
                "Keeps the KV cache small and flat: heads that hardly look back lose their history, the others "
                "keep the first frame or the last chunk. Needs no training. Works with Stream AR Video, the AR "
                "Streaming Sampler and ComfyUI's own SamplerARVideo. Replaces an AR KV Window."
            ),
            search_aliases=["kv cache", "head-wise", "autoregressive", "long video", "vram", "dummy heads"],
            inputs=[
                io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node."),
                io.Float.Input(
                    "dummy_ratio",
                    default=_DEFAULT.dummy_ratio,
                    min=0.0,
                    max=1.0,
                    step=FINE_STEP,
                    tooltip=(
                        "Share of all heads that lose their history, those that need it least. 0.5 is the paper's "
                        "choice; less is closer to the dense model, more is faster."
                    ),
                ),
                io.Int.Input(
                    "local_context",
                    default=_DEFAULT.local_context,
                    min=1,
                    max=64,
                    tooltip=(
                        "Chunks that a neighbor head looks back. More remembers longer, for little memory: only "
                        "neighbor heads hold them."
                    ),
                ),
                HeadProfileType.Input(
                    "profile",
                    optional=True,
                    tooltip=(
                        "Roles measured beforehand by Profile Dummy Heads on this model. Without it, heads are "
                        "classified while the video begins, anew for every prompt."
                    ),
                ),
                io.Int.Input(
                    "classification_chunk",
                    default=_DEFAULT.classification_chunk,
                    min=1,
                    max=64,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "The chunk (from 0) whose clean pass shows what heads look at. All heads are dense up to "
                        "there. With a profile, its roles take effect after this chunk."
                    ),
                ),
                io.Combo.Input(
                    "cost",
                    options=list(get_args(Cost)),
                    default=_DEFAULT.cost,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "How the loss of a head is weighed: normalised balances attention to the first frame "
                        "against attention to recent ones, as the authors' code does; paper takes both as they are."
                    ),
                ),
                io.Int.Input(
                    "packed_frames",
                    default=_DEFAULT.packed_frames,
                    min=0,
                    max=64,
                    optional=True,
                    advanced=True,
                    tooltip="Recent latent frames that a dummy head keeps all the same; 1 costs nothing extra.",
                ),
                positions_input(),
                forced_roles_input(),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with a small KV cache. The model that came in stays as it is.",
                )
            ],
            has_intermediate_output=True,  # the token of its head maps
        )

    @classmethod
    def execute(
        cls,
        model,
        dummy_ratio: float,
        local_context: int,
        profile: HeadProfile | None = None,
        classification_chunk: int = _DEFAULT.classification_chunk,
        cost: Cost = _DEFAULT.cost,
        packed_frames: int = _DEFAULT.packed_frames,
        positions: str = AUTO,
        forced_roles: str = "",
    ) -> io.NodeOutput:
        forced = parse_forced_roles(forced_roles)
        shape = shape_of(causal_backbone(model))
        check_forced_roles(forced, shape.layers, shape.heads)
        options = {
            "dummy_ratio": dummy_ratio,
            "local_context": local_context,
            "packed_frames": packed_frames,
            "classification_chunk": classification_chunk,
            "cost": cost,
            "forced_roles": forced,
        }
        _check_family(model, profile)
        if profile is not None:
            check_profile(model, profile)
            options = with_profile(options, profile)
        keep = DummyForcing(**options)
        patched = with_keep(model, keep, positions)
        return io.NodeOutput(patched, ui=_show_heads(patched, keep, profile))


def _show_heads(patched, keep: DummyForcing, profile: HeadProfile | None) -> dict[str, list[str]]:
    """Put the profile's head map on the node, or have those of videos to be made put there; what its `ui` says."""
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
            f"{family.heads_note}. Heads cannot be measured on the way either: connect a profile of Profile Dummy "
            "Heads, or remove the Dummy Forcing Patch"
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
