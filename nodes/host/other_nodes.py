"""Settings of other nodes on a MODEL or a prompt that have no effect, or a different one, while a video streams.

One table serves the log at the start of a sampling and the reports of nodes. Each row finds one kind of setting and
says in a sentence what happens to it and what to do. `host` collects what the rows look at. Settings that would
break a stream are refused here, or left out of one sampling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ...core.errors import DummyForcingError

_BYPASSED = re.compile(r"diffusion_model\.(forward|forward_block|blocks\.\d+\.((self|cross)_attn\.)?forward)")
_CACHE_KEYS = ("easycache", "lazycache")  # of the wrappers that ComfyUI's EasyCache and LazyCache add
_READ = {"c_crossattn"}  # all that an AR pass reads of a prompt, besides its area and strength
_CARRIED = ("control", "gligen", "concat_latent_image", "vace_frames")  # what other nodes add to the text
_NOT_TEXT = (  # what a later prompt would lose: name for messages, option, value without effect, nodes to remove
    ("a time range", "start_percent", 0.0, "ConditioningSetTimestepRange"),
    ("a time range", "end_percent", 1.0, "ConditioningSetTimestepRange"),
    ("a time range", "clip_start_percent", 0.0, "the hook keyframes of its CLIP"),
    ("a time range", "clip_end_percent", 1.0, "the hook keyframes of its CLIP"),
    ("hooks", "hooks", None, "the node that sets hooks (Cond Set Props, Set CLIP Hooks, ...)"),
    ("an area", "area", None, "ConditioningSetArea, ConditioningSetAreaPercentage or the like"),
    ("a mask", "mask", None, "ConditioningSetMask or the mask of Cond Set Props"),
    ("a strength", "strength", 1.0, "ConditioningSetAreaStrength or the node whose strength is not 1"),
    ("a default's place", "default", False, "Cond Set Default Combine"),
    ("a control net", "control", None, "Apply ControlNet"),
    ("boxes", "gligen", None, "GLIGENTextBoxApply"),
    ("images", "concat_latent_image", None, "the node that adds a start image or a video to it"),
    ("images", "reference_latents", None, "the node that adds reference latents"),
    ("images", "clip_vision_output", None, "the node that adds a CLIP vision output"),
    ("images", "unclip_conditioning", None, "unCLIPConditioning"),
    ("frames", "vace_frames", None, "WanVaceToVideo"),
)


@dataclass(frozen=True)
class Found:
    """What is set on a MODEL.

    Attributes:
        objects: functions with which other nodes have replaced the module's own, by path.
        wrappers: functions around parts of a sampling, by kind and key.
        options: the MODEL's options; those of the transformer are among them.
    """

    objects: Mapping[str, Any]
    wrappers: Mapping[str, Mapping[Any, Sequence[Any]]]
    options: Mapping[str, Any]

    @property
    def transformer(self) -> Mapping[str, Any]:
        return self.options.get("transformer_options", {})


@dataclass(frozen=True)
class Probe:
    """A row of the table: `says` has a placeholder for the names that `find` yields."""

    find: Callable[[Found], Iterator[str]]
    says: str


def notices(found: Found, own_levels: bool = False) -> list[str]:
    """A sentence for each kind of thing that has been found.

    own_levels: whether noise levels come from the model's family, not from a scheduler.
    """
    table = (*_TABLE, _SHIFT) if own_levels else _TABLE
    return [probe.says.format(", ".join(names)) for probe in table if (names := list(probe.find(found)))]


def prompt_notices(conds: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The same for the prompts of a guider, as ComfyUI has prepared them."""
    names = set()
    for cond in (cond for group in conds.values() for cond in group):
        names.update(name for name in _CARRIED if cond.get(name) is not None)
        names.update(set(cond.get("model_conds", ())) - _READ)
    if not names:
        return []
    return [
        f"the prompt carries {', '.join(sorted(names))}, which AR models do not read: it has no effect; remove the "
        "node that adds it (start images go into Stream AR Video or come from ARVideoI2V)"
    ]


def check_prompts(conds: Mapping[str, Sequence[Mapping[str, Any]]], highest: float, lowest: float) -> None:
    """Refuse prompts that are absent from some passes: each has its own keys and values, which need every pass.

    Args:
        conds: the prompts of a guider by their role ("positive", ...), as ComfyUI has prepared them.
        highest, lowest: noise levels of the first and of the clean passes.

    Raises:
        DummyForcingError: there is no prompt, or one that holds only for a part of the denoising.
    """
    if not conds.get("positive", any(conds.values())):
        raise DummyForcingError(
            "there is no prompt: the conditioning is empty; connect the conditioning of a text encoder"
        )
    for name, cond in ((name, cond) for name, group in conds.items() for cond in group):
        if highest > cond.get("timestep_start", highest) or lowest < cond.get("timestep_end", lowest):
            begin = max(cond.get("start_percent", 0.0), cond.get("clip_start_percent", 0.0))
            end = min(cond.get("end_percent", 1.0), cond.get("clip_end_percent", 1.0))
            raise DummyForcingError(
                f"a {name} prompt holds from {begin:g} to {end:g} of the denoising only, but every chunk is "
                "remembered under every prompt, which has to be there from the first pass to the last; set start "
                "to 0 and end to 1 in ConditioningSetTimestepRange, or remove that node or hook (AR Prompt "
                "Schedule changes prompts in the course of a video)"
            )


def later_text(name: str, conditioning: Sequence[Sequence[Any]]) -> Any:
    """The text [1, L, D] of a later prompt from its conditioning: pairs of a text and its options.

    name: of the prompt's input, for messages.

    Raises:
        DummyForcingError: there is no text, or more than a text: nothing else of a later prompt would take effect.
    """
    if not conditioning:
        raise DummyForcingError(
            f"{name} is empty; connect {name} of AR Prompt Schedule to the conditioning of a text encoder"
        )
    for what, option, without_effect, nodes in _NOT_TEXT:
        values = [value for _, options in conditioning if (value := options.get(option)) is not None]
        if any(value is not without_effect and value != without_effect for value in values):
            raise DummyForcingError(
                f"{name} has {what} ({option}), but a later prompt is plain text; remove {nodes} in front of "
                f"{name} of AR Prompt Schedule"
            )
    if len(conditioning) > 1:
        raise DummyForcingError(
            f"{name} consists of {len(conditioning)} prompts, but a later prompt is one; remove "
            f"ConditioningCombine (or the hook keyframes of its CLIP) in front of {name} of AR Prompt Schedule"
        )
    return conditioning[0][0]


def tell_prompts_apart(conds: dict[str, list[dict[str, Any]]]) -> None:
    """Give every prompt its own `uuid`, by which memories are told apart.

    ComfyUI copies a prompt with an area to the other side of CFG, and its `uuid` with it.
    """
    seen = set()
    for cond in (cond for group in conds.values() for cond in group):
        if cond["uuid"] in seen:
            cond["uuid"] = uuid4()
        seen.add(cond["uuid"])


class _NoWindows:
    """Replaces a context window handler: chunks are sampled whole."""

    freenoise = False
    dim = 0
    context_length = math.inf

    def should_use_context(self, *_) -> bool:
        return False


def leave_out_windows(model_options: dict[str, Any]) -> None:
    """Turn context windows off for one sampling: the memory would get a chunk's frames in pieces, and twice."""
    if model_options.get("context_handler") is not None:
        model_options["context_handler"] = _NoWindows()


def _origin(patch) -> str:
    """Where a patch comes from: module and name of its function or class."""
    known = patch if hasattr(patch, "__qualname__") else type(patch)
    return f"{known.__module__}.{known.__qualname__}"


def _layers(found: Found) -> Iterator[str]:
    return (f"{name} ({_origin(patch)})" for name, patch in found.objects.items() if _BYPASSED.fullmatch(name))


def _wrapped(found: Found) -> Iterator[str]:
    by_key = found.wrappers.get("diffusion_model", {})
    return (_origin(each) for key, made in by_key.items() if key not in _CACHE_KEYS for each in made)


def _patches(found: Found) -> Iterator[str]:
    for kind, made in found.transformer.get("patches", {}).items():
        yield from (f"{kind} ({_origin(each)})" for each in made)
    for made in found.transformer.get("patches_replace", {}).values():
        yield from (f"{' '.join(map(str, place))} ({_origin(each)})" for place, each in made.items())
    if found.transformer.get("rope_options"):
        yield "rope_options (Scale RoPE)"


def _cache(name: str) -> Callable[[Found], Iterator[str]]:
    """Finds one of ComfyUI's pass caches, which leave an object with their name in the options."""

    def find(found: Found) -> Iterator[str]:
        if getattr(found.transformer.get("easycache"), "name", None) == name:
            yield name

    return find


def _windows(found: Found) -> Iterator[str]:
    if found.options.get("context_handler") is not None:
        yield "context windows"


def _compiled(found: Found) -> Iterator[str]:
    if "torch.compile" in found.wrappers.get("apply_model", {}):
        yield "torch.compile"


def _shift(found: Found) -> Iterator[str]:
    if "model_sampling" in found.objects:
        yield "shift"


_TABLE = (
    Probe(
        _layers,
        "Dummy Forcing runs the model's layers itself and leaves out what other nodes have put around them: {}. "
        "Remove these nodes or, if they wrap the whole forward, put them after the Dummy Forcing nodes.",
    ),
    Probe(
        _wrapped,
        "{} is around a part of the model that AR sampling does not go through, and has no effect; remove the node "
        "that sets it.",
    ),
    Probe(
        _patches,
        "An AR model takes no patches of its blocks: {} has no effect; remove the node that sets it.",
    ),
    Probe(
        _cache("EasyCache"),
        "{} has no effect on an AR model; remove it and use AR Pass Skip, which leaves out passes chunk by chunk.",
    ),
    Probe(
        _cache("LazyCache"),
        "{} takes the passes of all chunks for those of one video and may put one chunk's changes on the next; "
        "remove it and use AR Pass Skip, which leaves out passes chunk by chunk.",
    ),
    Probe(
        _windows,
        "The {} node has no effect: an AR model samples one chunk after the other and looks back through its "
        "memory. Remove it; AR KV Window says how far the model looks back.",
    ),
    Probe(
        _compiled,
        "{} of the whole model or of whole blocks has no effect while a video streams; AR Compile takes its place.",
    ),
)
_SHIFT = Probe(
    _shift,
    "A model sampling node (ModelSamplingSD3, ...) has set a {}, which has no effect here: the noise levels are "
    "those of the model's family.",
)
