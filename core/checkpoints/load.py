"""From files to modules: backbone, VAE and text embedding, checked tensor by tensor before anything is copied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import DummyForcingError
from ..heads.profile import model_fingerprint
from ..wan.container import CausalWan
from ..wan.shape import WanShape
from ..wan.vae import WanVAE, WanVAEShape
from .files import read_folder, read_tensors
from .names import backbone_part, bare_names, check_names

EMBEDDING_KEYS = ("context", "prompt_embeds")
_SHOWN = 3

Model = TypeVar("Model", CausalWan, WanVAE)


def load_backbone(path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> CausalWan:
    """Load a causal Wan backbone for inference.

    Args:
        path: safetensors or PyTorch file, or a folder with one checkpoint in one or several safetensors files.
        device, dtype: of the weights; the file stays memory-mapped, so about one copy is in memory at most.

    Raises:
        DummyForcingError: unreadable, or not exactly the tensors of a Wan 2.1 text-to-video model.
    """
    found, metadata = read_folder(path) if path.is_dir() else read_tensors(path)
    state = bare_names(backbone_part(found))
    del found  # `_filled` empties `state` tensor by tensor
    what = f"the backbone {path}"
    check_values(state, what)
    shape = backbone_shape(state, metadata, what)
    return _filled(CausalWan, shape, state, what, device, dtype)


def load_vae(path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> WanVAE:
    """Load a Wan 2.1 VAE of any width, encoder and decoder, from a safetensors or PyTorch file.

    Raises:
        DummyForcingError: unreadable, or not exactly the tensors of a Wan 2.1 VAE.
    """
    state = bare_names(read_tensors(path)[0])
    what = f"the VAE {path}"
    check_values(state, what)
    try:
        shape = WanVAEShape.from_state_dict(state)
    except DummyForcingError as error:
        raise DummyForcingError(f"{what} cannot be loaded: {error}") from error
    return _filled(WanVAE, shape, state, what, device, dtype)


def load_text_embedding(path: Path) -> Tensor:
    """Load a text encoder's output, [1, L, text_dim] fp32 on the CPU.

    The safetensors file holds it as 'context' or 'prompt_embeds', or as its only floating-point tensor;
    [L, text_dim] gets the batch dimension.

    Raises:
        DummyForcingError: unreadable, ambiguous, of another shape, or with NaN or infinite numbers.
    """
    stored = _choose_embedding(read_tensors(path)[0], path)
    embedding = stored.to(torch.float32, copy=True)  # leaves the mapped file
    if embedding.ndim == 2:
        embedding = embedding[None]
    if embedding.ndim != 3 or embedding.shape[0] != 1 or 0 in embedding.shape:
        raise DummyForcingError(
            f"the text embedding {path} has the shape {list(stored.shape)}; "
            "expected one prompt as [tokens, channels] or [1, tokens, channels]"
        )
    if not embedding.isfinite().all():
        raise DummyForcingError(f"the text embedding {path} has NaN or infinite numbers; encode the prompt again")
    return embedding


def backbone_fingerprint(backbone: CausalWan) -> str:
    """Identity of a model (`heads.profile.model_fingerprint`) from its sizes and all modulation vectors."""
    return weights_fingerprint(backbone.shape, dict(backbone.named_parameters()))


def weights_fingerprint(shape: WanShape, weights: Mapping[str, Tensor]) -> str:
    """`backbone_fingerprint` of weights that are in no module of ours, by their bare names."""
    vectors = {name: value for name, value in weights.items() if name.endswith("modulation")}
    return model_fingerprint(shape.to_dict(), vectors)


def _filled(
    kind: type[Model], shape, state: dict[str, Tensor], what: str, device: torch.device | str, dtype: torch.dtype
) -> Model:
    """A module of the given shape with the tensors of `state`, which it empties."""
    with torch.device("meta"):
        model = kind(shape)
    expected = model.state_dict()
    check_names(state, expected, what)
    check_shapes(state, expected, what)
    # Copied even where nothing is cast: a mapped weight would change, or crash us, with the file.
    weights = {name: state.pop(name).to(device, dtype, copy=True) for name in expected}
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def backbone_shape(state: Mapping[str, Tensor], metadata: Mapping[str, str], what: str) -> WanShape:
    """Sizes of a backbone from its bare state dict and the "config" metadata of its file.

    Raises:
        DummyForcingError: the defining tensors are missing or damaged, or the heads cannot be told.
    """
    heads = _heads_in(metadata, what)
    try:
        shape = WanShape.from_state_dict(state, heads)
    except DummyForcingError as error:
        raise DummyForcingError(f"{what} cannot be loaded: {error}") from error
    except (ValueError, IndexError) as error:  # tensors of the right names with too few dimensions
        raise DummyForcingError(
            f"{what} has damaged tensors ({error}); use an unchanged Wan 2.1 checkpoint"
        ) from error
    if shape.layers > len(state):  # before a stray name such as blocks.99999999 makes us build as many
        raise DummyForcingError(f"{what} lacks most of its {shape.layers} layers; use a complete checkpoint")
    return shape


def check_values(state: Mapping[str, Tensor], what: str) -> None:
    """Demand floating-point weights. Raises DummyForcingError that names the first other tensor."""
    for name, value in state.items():
        if not value.is_floating_point() or not value.numel():
            raise DummyForcingError(
                f"{what}: {name!r} is {value.dtype} {list(value.shape)}, expected floating-point weights; "
                "use a checkpoint that is not quantised"
            )


def check_shapes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Demand the shapes of the expected tensors. Raises DummyForcingError that names up to three others."""
    wrong = [
        f"{name!r} is {list(state[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if state[name].shape != value.shape
    ]
    if wrong:
        raise DummyForcingError(
            f"{what} has {len(wrong)} tensors of the wrong shape: {', '.join(wrong[:_SHOWN])}; "
            "use an unchanged Wan 2.1 checkpoint"
        )


def _heads_in(metadata: Mapping[str, str], what: str) -> int | None:
    """Number of heads in the "config" metadata, as ComfyUI ({"transformer": ...}) or flat; None if not there."""
    if "config" not in metadata:
        return None
    try:
        config = json.loads(metadata["config"])
        heads = {**config, **config.get("transformer", {})}.get("num_heads")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DummyForcingError(
            f"the 'config' metadata of {what} is not a JSON object ({error}); correct or remove it"
        ) from error
    if heads is not None and type(heads) is not int:
        raise DummyForcingError(
            f"the 'config' metadata of {what} says num_heads is {heads!r}; expected a whole number; correct it"
        )
    return heads


def _choose_embedding(tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    floats = {name: value for name, value in tensors.items() if value.is_floating_point()}
    chosen = [name for name in EMBEDDING_KEYS if name in floats] or list(floats)
    if len(chosen) != 1:
        raise DummyForcingError(
            f"cannot tell which of the {len(chosen)} floating-point tensors of {path} is the text embedding; "
            f"save it alone or as {EMBEDDING_KEYS[0]!r}"
        )
    return floats[chosen[0]]
