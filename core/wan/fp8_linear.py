"""FP8 for the linear layers in the blocks, which hold nearly all weights and do nearly all matrix products.

Embeddings, modulation, norms and the head stay as they are, as in Light Forcing (utils/quant.py there).
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from ...kernels.fp8 import FP8_MULTIPLE, SCALED_MM, fp8_linear, fp8_path, quantise_rows
from ..errors import DummyForcingError
from .container import CausalWan

logger = logging.getLogger("dummy_forcing")

SCALE = "_scale"  # added to a weight's name, as in ComfyUI's files


class Fp8Linear(nn.Module):
    """A linear layer with e4m3 weights [out, in], an fp32 scale for each output [out, 1] and a bias."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = quantise_rows(linear.weight)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.weight_scale = nn.Parameter(scale, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], in the dtype of x."""
        return fp8_linear(x, self.weight, self.weight_scale, self.bias)


def use_fp8_linears(backbone: CausalWan) -> CausalWan:
    """Replace the blocks' linear layers in place, one after the other; works on the meta device, too.

    Layers whose sizes are not multiples of 16 stay as they are.

    Raises:
        DummyForcingError: no layer is of such a size.
    """
    names = [name for name, module in backbone.blocks.named_modules() if _fits(module)]
    if not names:
        shape = backbone.shape
        raise DummyForcingError(
            f"FP8 needs layers whose widths are multiples of {FP8_MULTIPLE}, this model's are {shape.dim} and "
            f"{shape.ffn_dim}; leave FP8 out"
        )
    for name in names:
        backbone.blocks.set_submodule(name, Fp8Linear(backbone.blocks.get_submodule(name)))
    return backbone


def fp8_weights(module: nn.Module) -> frozenset[str]:
    """Names of the weights of a module's FP8 layers."""
    return frozenset(f"{name}.weight" for name, part in module.named_modules() if isinstance(part, Fp8Linear))


def quantised_weight(name: str, weight: Tensor) -> dict[str, Tensor]:
    """A weight as an `Fp8Linear` keeps it, by name.

    Raises:
        DummyForcingError: the weight has NaN or infinite numbers, which would spoil a whole row.
    """
    values, scale = quantise_rows(weight)
    if not scale.isfinite().all():
        raise DummyForcingError(f"the weight {name!r} has NaN or infinite numbers; download the checkpoint again")
    return {name: values, name + SCALE: scale}


def describe_fp8(backbone: nn.Module, device: torch.device) -> dict[str, object] | None:
    """Number of FP8 layers and how their products are computed; None if there are none. JSON-serialisable."""
    count = len(fp8_weights(backbone))
    return {"layers": count, "path": fp8_path(device)[0]} if count else None


def say_fp8(backbone: nn.Module, device: torch.device) -> None:
    """One log line: how the FP8 layers of a model run."""
    path, why = fp8_path(device)
    what = "%d linear layers in FP8: %s (%s)"
    if path == SCALED_MM:
        logger.info(what, len(fp8_weights(backbone)), path, why)
    else:
        logger.warning(f"{what}; they save memory but no time", len(fp8_weights(backbone)), path, why)


def _fits(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and not (
        module.in_features % FP8_MULTIPLE or module.out_features % FP8_MULTIPLE
    )
