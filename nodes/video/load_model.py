"""The node Load AR Video Model."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...core.checkpoints.convert import what_it_is
from ...core.checkpoints.families.running import family_loop, family_memory
from ...core.checkpoints.families.table import AUTO, FAMILIES
from ...core.checkpoints.files.checkpoint_files import (
    SUFFIX,
    checkpoint_files,
    read_checkpoint,
    read_tensors,
    tensor_names,
)
from ...core.checkpoints.files.record import record_of
from ...core.checkpoints.layouts.fp8_weights import with_fp8_weights
from ...core.checkpoints.layouts.normal import NormalBackbone, normalise
from ...core.checkpoints.lora.lora_file import comfy_lora
from ...core.checkpoints.lora.lora_rules import LoraFile
from ...core.checkpoints.opened import judge
from ...core.errors import DummyForcingError
from ...core.world import toy
from ..host.frontend import named
from ..host.patched_models import causal_backbone
from ..host.patching import with_patch
from ..host.saving import add_when_saved
from ..host.symbols import NEEDED
from ..patches.model_patch import ModelPatch
from ..schema import node_schema
from .inputs import FINE_STEP
from .model_facts import ARModelInfo, attach_facts
from .toy_world import toy_file

TOY_WORLD = "toy world (built in)"
NO_LORA = "none"

_MODEL_FOLDERS = ("diffusion_models", "checkpoints")
_LORA_FOLDER = "loras"
_DEFAULT, _FP8, FP8_SCALED = "default", "fp8_e4m3fn", "fp8_scaled"
_COMFY_SUFFIXES = frozenset({SUFFIX, ".sft"})

_log = logging.getLogger("dummy_forcing")


class LoadARVideoModel(io.ComfyNode):
    """Opens an AR checkpoint in whatever layout its authors published it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="DummyForcingLoadModel",
            display_name="Load AR Video Model",
            description=(
                "Loads an autoregressive video model (Self-Forcing, Causal Forcing, LongLive, CausVid, Krea "
                "Realtime and their kin) as its authors published it, or the small toy world that is built in and "
                "needs no download. The model goes through ComfyUI's own loader, so LoRA, offload, quantisation "
                "and dynamic VRAM work as usual."
            ),
            search_aliases=[
                "self forcing",
                "causal forcing",
                "longlive",
                "causvid",
                "krea realtime",
                "rolling forcing",
                "autoregressive",
                "load diffusion model",
                "toy world",
            ],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[TOY_WORLD, *_model_files()],
                    default=TOY_WORLD,
                    tooltip=(
                        "A file of models/diffusion_models or models/checkpoints, .safetensors or .pt, or any one "
                        "of several shards. Names inside the file are put right, whatever the trainer wrapped "
                        "around them."
                    ),
                ),
                io.Combo.Input(
                    "family",
                    options=[AUTO, *FAMILIES],
                    default=AUTO,
                    tooltip=(
                        "How the model was trained and is therefore run: frames per chunk, steps, shift. "
                        "auto goes by the file's metadata, name and layout and stops where these do not tell."
                    ),
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=[_DEFAULT, FP8_SCALED, _FP8],
                    default=_DEFAULT,
                    advanced=True,
                    tooltip=(
                        "default lets ComfyUI choose for your card. fp8_scaled halves the memory of the weights at "
                        "little loss of quality and computes the linear layers in FP8 on NVIDIA cards that can "
                        "(RTX 40 and 50, L40, H100 and newer); older cards gain memory but no speed. fp8_e4m3fn "
                        "only stores the weights rounded, without scales. The KV cache stays at 16 bits."
                    ),
                ),
                io.Combo.Input(
                    "lora",
                    options=[NO_LORA, *_listed(_LORA_FOLDER)],
                    default=NO_LORA,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "A LoRA of models/loras; LongLive needs its own. Unlike in ComfyUI's own node every part "
                        "of it must fit the model, and one that the model needs cannot be left out unnoticed."
                    ),
                ),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=FINE_STEP,
                    optional=True,
                    advanced=True,
                    tooltip="How strongly the LoRA changes the model. A LoRA that belongs to a model goes with 1.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip=(
                        "The causal model, with its family's defaults for the Dummy Forcing nodes. "
                        "ComfyUI's own AR sampler takes it as well."
                    ),
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, lora: str | None = NO_LORA, **_) -> list:
        names = named("model", model), named("lora", lora)
        return [
            [_changed_at(_find(name, folders)) for name in each]
            for each, folders in zip(names, (_MODEL_FOLDERS, (_LORA_FOLDER,)), strict=True)
        ]

    @classmethod
    def execute(
        cls, model: str, family: str, weight_dtype: str, lora: str = NO_LORA, lora_strength: float = 1.0
    ) -> io.NodeOutput:
        return io.NodeOutput(open_model(model, family, weight_dtype, lora, lora_strength))


def open_model(name: str, family_name: str, weight_dtype: str, lora: str, lora_strength: float):
    """The work of the node: a ModelPatcher with the facts about it attached.

    Raises:
        DummyForcingError: a file that is missing, damaged or of another kind of model, a family that is unknown or
            cannot be told, or a LoRA that is missing, wrong or doubled.
    """
    path = toy_file(toy.BACKBONE_FILE) if name == TOY_WORLD else _existing(name, _MODEL_FOLDERS)
    what = f"the model {name!r}"
    contents = read_checkpoint(path, _read)
    normal = normalise(*contents, what)
    weights = _read(_existing(lora, (_LORA_FOLDER,)))[0] if lora != NO_LORA and lora_strength else None
    opened = judge(what, name, contents, normal, family_name, None if weights is None else (lora, weights))
    del contents
    model = _patcher(normal, weight_dtype, what)
    model.cached_patcher_init = (load_patcher, (str(path), weight_dtype))
    if opened.lora is not None:
        model = _with_lora(model, opened.lora, lora_strength)
    add_when_saved(model, record_of(what_it_is(opened)))
    source = name if opened.lora is None else f"{name} + {lora}"
    found = opened.detected
    attach_facts(model, ARModelInfo(found.family, normal.fingerprint, normal.shape, source, found.reason))
    _log.info("%s is run as %s: %s", source, found.family.title, found.reason)
    own = ModelPatch(memory=family_memory(found.family), loop=family_loop(found.family))
    return model if own == ModelPatch() else with_patch(model, own)


def load_patcher(path: str, weight_dtype: str, disable_dynamic: bool = False):
    """A fresh patcher from the file. ComfyUI asks for one to compile a model, for hooks and for further GPUs.

    ComfyUI gives it the patches and attachments of the patcher that it is made for.
    """
    what = f"the model {path}"
    return _patcher(normalise(*read_checkpoint(Path(path), _read), what), weight_dtype, what, disable_dynamic)


def _patcher(normal: NormalBackbone, weight_dtype: str, what: str, disable_dynamic: bool = False):
    import comfy.sd
    import torch

    if weight_dtype == FP8_SCALED:
        state, metadata = with_fp8_weights(normal, what)
    else:
        state, metadata = normal.merged_state(), normal.metadata
    model = comfy.sd.load_diffusion_model_state_dict(
        state,
        model_options={"dtype": torch.float8_e4m3fn} if weight_dtype == _FP8 else {},
        metadata=metadata,
        disable_dynamic=disable_dynamic,
    )
    if model is None:
        raise DummyForcingError(f"ComfyUI does not know {what}; update ComfyUI to {NEEDED}")
    causal_backbone(model)
    return model


def _with_lora(model, lora: LoraFile, strength: float):
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, None, comfy_lora(lora.merge.parts), strength, 0)[0]


def _read(path: Path):
    """Tensors and metadata of a file, memory-mapped where ComfyUI's settings allow it.

    ComfyUI's own reader lets dynamic VRAM read weights straight from the file, but (in 0.27) it goes by the ending
    of the file's name and says little about what is wrong with a file.
    """
    if path.suffix.lower() not in _COMFY_SUFFIXES:
        return read_tensors(path)
    import comfy.utils

    tensor_names(path)
    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    return tensors, metadata or {}


def _model_files() -> list[str]:
    """Files of both folders, each name once."""
    return list(dict.fromkeys(name for folder in _MODEL_FOLDERS for name in _listed(folder)))


def _listed(folder: str) -> list[str]:
    try:
        return folder_paths.get_filename_list(folder)
    except (KeyError, OSError):  # unknown to this ComfyUI, or removed while it runs: no reason to lose the node
        return []


def _find(name: str, folders: tuple[str, ...]) -> Path | None:
    found = (folder_paths.get_full_path(folder, name) for folder in folders)
    return next((Path(path) for path in found if path), None)


def _existing(name: str, folders: tuple[str, ...]) -> Path:
    path = _find(name, folders)
    if path is None:
        raise DummyForcingError(
            f"there is no file {name!r} in models/{' or models/'.join(folders)}; choose another, press R to refresh"
        )
    return path


def _changed_at(path: Path | None) -> float | None:
    """When a file was changed; for a checkpoint in shards, when the last of them was."""
    if path is None:
        return None
    try:
        files = checkpoint_files(path)
    except DummyForcingError:  # the node will say so when it runs
        files = [path]
    return max(file.stat().st_mtime for file in files)
