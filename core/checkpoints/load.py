"""From files to modules: backbone, VAE and TAEHV. All tensors are checked before the first one is copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..decoders.tae import ENCODER, TAE, TAEShape
from ..errors import DummyForcingError
from ..wan.container import CausalWan
from ..wan.fp8_linear import fp8_weights, quantised_weight, use_fp8_linears
from ..wan.vae import WanVAE, WanVAEShape
from .files.checkpoint_files import read_tensors
from .files.kinds import DECODER, kind_of
from .files.mapped import let_go
from .layouts.checks import check_shapes, check_values
from .layouts.normal import NormalBackbone
from .layouts.wrapped_names import bare_names, check_names
from .lora.lora_merge import Merge, merge_all

Model = TypeVar("Model", CausalWan, WanVAE, TAE)


def fill_backbone(
    normal: NormalBackbone,
    what: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    loras: Sequence[Merge] = (),
    fp8: bool = False,
) -> CausalWan:
    """Move a checked backbone into a module for inference; empties `normal.state`.

    The file stays memory-mapped and its pages are let go one tensor after the other. So on the CPU the peak memory
    is hardly more than the module itself: one copy of the weights, in the type that was asked for.

    Args:
        loras: merged in this order, after a LoRA that is wrapped around the layers in the file.
        fp8: quantise the blocks' linear layers (`wan.fp8_linear`), each right after the LoRAs are merged into it.

    Raises:
        DummyForcingError: weights are quantised, which only ComfyUI can run, or have sizes that do not fit FP8.
    """
    if normal.quantised:
        raise DummyForcingError(
            f"{what}: {min(normal.quantised)!r} is quantised; use a checkpoint that is not quantised, "
            "or run this one in ComfyUI"
        )
    merges = normal.merges(loras)
    with torch.device("meta"):
        model = CausalWan(normal.shape)
        if fp8:
            use_fp8_linears(model)
    return _filled(model, normal.state, device, dtype, merges)


def load_vae(path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> WanVAE:
    """Load a Wan 2.1 VAE of any width, encoder and decoder, from a safetensors or PyTorch file.

    Raises:
        DummyForcingError: the file is unreadable, or its tensors are not exactly those of a Wan 2.1 VAE.
    """
    return fill_vae(bare_names(read_tensors(path)[0]), f"the VAE {path}", device, dtype)


def fill_vae(state: dict[str, Tensor], what: str, device: torch.device | str, dtype: torch.dtype) -> WanVAE:
    """As `load_vae`, but from tensors by their bare names; empties `state`."""
    return _filled(_outline(state, what, WanVAEShape.from_state_dict, WanVAE), state, device, dtype)


def fill_tae(state: dict[str, Tensor], what: str, device: torch.device | str, dtype: torch.dtype) -> TAE:
    """A TAEHV decoder for inference, from tensors by their bare names. An encoder among them is ignored.

    Raises:
        DummyForcingError: the tensors are not exactly those of a TAEHV decoder for Wan 2.1.
    """
    state = {name: value for name, value in state.items() if not name.startswith(ENCODER)}
    return _filled(_outline(state, what, TAEShape.from_state_dict, TAE), state, device, dtype)


def _outline(
    state: Mapping[str, Tensor],
    what: str,
    read: Callable[[Mapping[str, Tensor]], Any],
    build: Callable[[Any], Model],
) -> Model:
    """A module on the meta device with exactly the tensors of `state`, which are checked."""
    check_values(state, what)
    try:
        shape = read(state)
    except DummyForcingError as error:
        kind = kind_of(state)
        which = "cannot be loaded" if kind in (None, DECODER) else f"is {kind}"
        raise DummyForcingError(f"{what} {which}: {error.message}") from error
    with torch.device("meta"):
        model = build(shape)
    expected = model.state_dict()
    check_names(state, expected, what)
    check_shapes(state, expected, what)
    return model


def _filled(
    model: Model,
    state: dict[str, Tensor],
    device: torch.device | str,
    dtype: torch.dtype,
    merges: Sequence[Merge] = (),
) -> Model:
    """Fill a module that is on the meta device with the tensors of `state`; empties `state`."""
    weights: dict[str, Tensor] = {}
    quantised = fp8_weights(model)
    for name in [name for name in model.state_dict() if name in state]:  # scales of quantised weights are not in it
        value = state.pop(name)
        merged = merge_all(merges, name, value)
        if name in quantised:
            weights |= quantised_weight(name, merged.to(device))
        else:
            # Copied even if the type stays: if the file changed, a mapped weight would change too, or crash us.
            weights[name] = merged.to(device, dtype, copy=True)
        let_go(value)
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)
