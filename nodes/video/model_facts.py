"""What the pack knows of a MODEL: attached by its loader, or read off the module for models from other loaders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.checkpoints.families.family import Family
from ...core.checkpoints.families.table import family
from ...core.checkpoints.layouts.checks import weights_fingerprint
from ...core.wan.shape import WanShape
from ...core.world.toy import FAMILY as TOY_FAMILY
from ...core.world.vocabulary import TEXT_DIM
from ..host.patched_models import causal_backbone, shape_of

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

KEY = "dummy_forcing.model"


@dataclass(frozen=True)
class ARModelInfo:
    """Facts about an autoregressive model.

    ComfyUI hands attachments on to clones by reference, which is right for this one since it is frozen.

    Attributes:
        family: how the model is run; None if the model came from another loader and its family cannot be told.
        fingerprint: of the weights in the file, as on the command line (`weights_fingerprint`), without LoRAs.
        shape: sizes of the backbone.
        source: file or files, as people see them.
        reason: why this family, a sentence without a full stop.
    """

    family: Family | None
    fingerprint: str
    shape: WanShape
    source: str
    reason: str


def attach_facts(model: ModelPatcher, info: ARModelInfo) -> None:
    """Put facts on a model; its clones will have them too."""
    model.set_attachments(KEY, info)


def model_facts(model: ModelPatcher) -> ARModelInfo | None:
    """The facts that Load AR Video Model attached, or None for a model of another loader."""
    return model.get_attachment(KEY)


def facts_of(model: ModelPatcher) -> ARModelInfo:
    """Facts about any causal Wan MODEL.

    For a model from another loader they are read off its module. Its fingerprint is then that of the weights as
    they were loaded: rounded to fp8, they are no longer those of the file.

    Raises:
        DummyForcingError: not a Wan model, or one that ComfyUI did not load as a causal one.
    """
    return model_facts(model) or _read_off(model)


def _read_off(model: ModelPatcher) -> ARModelInfo:
    module = causal_backbone(model)
    shape = shape_of(module)
    toy = shape.text_dim == TEXT_DIM
    return ARModelInfo(
        family=family(TOY_FAMILY) if toy else None,
        fingerprint=weights_fingerprint(shape, dict(module.named_parameters())),
        shape=shape,
        source=type(module).__name__,
        reason="its prompts are the toy world's"
        if toy
        else "another node loaded it; Load AR Video Model sets the family",
    )
