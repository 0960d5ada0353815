"""The node AR Speed Preset: one choice that sets all methods."""

from __future__ import annotations

from dataclasses import replace

import comfy.model_management
from comfy_api.latest import io

from ...core.errors import DummyForcingError
from ...core.presets import PRESETS, fit_preset, speed_preset
from ...core.world.toy import FAMILY as TOY_FAMILY
from ..host.patched_models import model_patch
from ..host.patching import with_patch
from ..live.live_view import show_result
from ..schema import node_schema
from ..video.decoders import find_decoder, open_decoder
from ..video.load_model import FP8_SCALED, load_patcher
from ..video.model_facts import model_facts


class ARSpeedPreset(io.ComfyNode):
    """Sets memory, selection, pass skipping, FP8 and decoder together."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        presets = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())
        return node_schema(
            node_id="DummyForcingSpeedPreset",
            display_name="AR Speed Preset",
            description=(
                "One choice between quality and speed in place of many nodes: sets what heads remember, what they "
                "read, which passes are skipped, FP8 and the decoder, and prints what it has set. Replaces what "
                "other Dummy Forcing nodes have set before; those behind it change single values."
            ),
            search_aliases=["fast", "speed up", "preset", "fp8", "performance", "low vram", "turbo"],
            inputs=[
                io.Model.Input("model", tooltip="From Load AR Video Model; LoRAs may come before or after."),
                io.Combo.Input(
                    "preset", options=list(PRESETS), default="balanced", tooltip=f"From best to fastest. {presets}."
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with everything set."),
                io.Vae.Output(
                    display_name="decoder",
                    tooltip=(
                        "For the decoder input of Stream AR Video: a light decoder of models/vae or "
                        "models/vae_approx. Empty where the preset wants the VAE itself, or none was found."
                    ),
                ),
                io.String.Output(display_name="settings", tooltip="What has been set, line by line."),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,  # what it has set, as text
        )

    @classmethod
    def execute(cls, model, preset: str) -> io.NodeOutput:
        chosen, facts, patch = speed_preset(preset), model_facts(model), model_patch(model)
        family = facts.family if facts else None
        fitted = fit_preset(chosen, family, patch.loop)
        model, linears = _with_linears(model, chosen.fp8)
        patched = with_patch(model, replace(patch, memory=fitted.memory, skip=fitted.skip))
        wanted = () if family is not None and family.name == TOY_FAMILY else chosen.decoders
        decoder, said = _decoder(wanted)
        lines = [f"{preset}: {chosen.summary}", *fitted.describe(), f"linear layers: {linears}", f"decoder: {said}"]
        settings = "\n".join(lines)
        return io.NodeOutput(patched, decoder, settings, ui=show_result(settings, cls.hidden.unique_id))


def in_fp8(model):
    """A clone of the MODEL with the blocks' linear layers in FP8; everything set on it stays, LoRAs too.

    The file is read once more, as ComfyUI itself does to compile a model.

    Raises:
        DummyForcingError: another node loaded the model, or it cannot be in FP8.
    """
    load, arguments = (model.cached_patcher_init or (None, ()))[:2]
    if load is not load_patcher:
        raise DummyForcingError(
            "only models of 'Load AR Video Model' can be changed to FP8; load the model with "
            "Load AR Video Model, or in FP8 at once"
        )
    path, weight_dtype = arguments
    if weight_dtype == FP8_SCALED:
        return model
    fresh = load_patcher(path, FP8_SCALED)
    clone = model.clone(model_override=fresh.get_clone_model_override())
    clone.cached_patcher_init = (load_patcher, (path, FP8_SCALED))
    clone.size = fresh.model_size()  # a clone takes over the size of the weights that it was made from
    return clone


def _with_linears(model, fp8: bool):
    """The MODEL with its linear layers as asked for, and what to say of them."""
    if not fp8:
        return model, "as loaded"
    try:
        model = in_fp8(model)
    except DummyForcingError as error:
        return model, f"as loaded: {error.message}"
    computed = comfy.model_management.supports_fp8_compute(model.load_device)
    return model, "FP8" if computed else "FP8, which saves memory on this device and no time"


def _decoder(names: tuple[str, ...]):
    """The first decoder found as a VAE object, or None, and what to say of it."""
    if not names:
        return None, "the VAE itself"
    path = find_decoder(names)
    if path is None:
        return (
            None,
            f"the VAE itself; {names[0]} in models/vae would be faster (huggingface.co/lightx2v/Autoencoders)",
        )
    return open_decoder(path), path.name
