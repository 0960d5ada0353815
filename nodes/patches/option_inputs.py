"""Makes inputs of nodes from the declarations of methods, and methods from the values of these inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ...core.methods.base import Method
from ...core.methods.declaration import Option, default_of, options_of
from ..video.inputs import FINE_STEP

_MOST = 2**31 - 1


def option_inputs(method: type[Method], *fields: str) -> list[io.Input]:
    """An input for each of these fields; if none is named, for all of them, those that are seldom changed last."""
    declared = options_of(method)
    names = fields or sorted(declared, key=lambda field: declared[field].rare)
    return [option_input(method, field) for field in names]


def option_input(method: type[Method], field: str, **details: Any) -> io.Input:
    """The input of a field; `details` are arguments of the input that replace what the declaration gives."""
    declared = options_of(method)[field]
    default = default_of(method, field)
    found: dict[str, Any] = {"tooltip": declared.help}
    if declared.rare:
        found |= {"optional": True, "advanced": True}
    name = declared.input or field
    if declared.choices:
        return io.Combo.Input(name, **{"options": list(declared.choices), "default": default, **found, **details})
    if isinstance(default, bool):
        return io.Boolean.Input(name, **{"default": default, **found, **details})
    if not isinstance(default, int | float) and declared.low is None:
        text = default if isinstance(default, str) else ""
        return io.String.Input(name, **{"default": text, **found, **details})
    found |= {"default": default or 0, "min": _least(declared), "max": _most(declared)}
    if isinstance(default, int):
        return io.Int.Input(name, **{**found, **details})
    return io.Float.Input(name, **{**found, "default": default or 0.0, "step": FINE_STEP, **details})


def from_inputs(method: type[Method], values: Mapping[str, Any]) -> Method:
    """The method as a node's inputs set it."""
    fields = {declared.input or field: field for field, declared in options_of(method).items()}
    return method.from_options({fields.get(name, name): value for name, value in values.items()})


def _least(declared: Option) -> float:
    return declared.low if declared.least is None else declared.least


def _most(declared: Option) -> float:
    return next(each for each in (declared.most, declared.high, _MOST) if each is not None)
