"""What ComfyUI's save nodes write of a MODEL."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from torch import Tensor

logger = logging.getLogger("dummy_forcing")

SAVED = "model_config.process_unet_state_dict_for_saving"


def add_when_saved(model, tensors: Mapping[str, Tensor]) -> None:
    """Add tensors to the file that a save node of ComfyUI writes of a MODEL or of its clones."""
    prepare = model.get_model_object(SAVED)
    model.add_object_patch(SAVED, Saved(getattr(prepare, "below", prepare), tensors))


class Saved:
    """Replaces the function that names a model's tensors for a file; `below` is that function."""

    def __init__(self, below: Callable[[dict[str, Tensor]], dict[str, Tensor]], tensors: Mapping[str, Tensor]):
        self.below, self._tensors = below, tensors

    def __call__(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        logger.warning(
            "open the saved file with Load AR Video Model, which recognises it; ComfyUI's own loaders take it for "
            "an ordinary bidirectional model, since its save nodes do not write that it is causal. `dummy-forcing "
            "convert` makes a file of it that they open as well"
        )
        return {**self.below(state), **self._tensors}
