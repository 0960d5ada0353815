"""A MODEL that is loaded already, over its weights in FP8."""

from __future__ import annotations

from ..core.errors import DummyForcingError
from .load_model import FP8_SCALED, load_patcher


def in_fp8(model):
    """A clone of the MODEL with the blocks' linear layers in FP8; everything set on it stays, LoRAs too.

    The file is read once more, as ComfyUI itself does to compile a model.

    Raises:
        DummyForcingError: another node loaded the model, or it cannot be in FP8.
    """
    load, arguments = (model.cached_patcher_init or (None, ()))[:2]
    if load is not load_patcher:
        raise DummyForcingError(
            "only models of 'Load AR Video Model' can be changed to FP8; load it there, or in FP8 at once"
        )
    path, weight_dtype = arguments
    if weight_dtype == FP8_SCALED:
        return model
    fresh = load_patcher(path, FP8_SCALED)
    clone = model.clone(model_override=fresh.get_clone_model_override())
    clone.cached_patcher_init = (load_patcher, (path, FP8_SCALED))
    clone.size = fresh.model_size()  # a clone takes over the size of the weights that it was made from
    return clone
