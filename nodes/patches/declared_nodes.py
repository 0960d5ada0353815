"""Nodes of methods that have none of their own, made from their declarations alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from comfy_api.latest import io

from ...core.methods.base import Method, methods
from ..host.patched_models import memory_config
from ..host.patching import with_memory
from ..schema import patch_schema
from .option_inputs import from_inputs, option_inputs
from .positions_input import AUTO, positions_input, with_keep

_SLOTS = ("keep", "merge", "select", "cross")


def declared_nodes(have_their_own: Collection[type[Method]]) -> Iterator[type[io.ComfyNode]]:
    """A node for each method that asks for one and has none of its own."""
    for slot in _SLOTS:
        for method in methods(slot).values():
            if method.on_nodes and method not in have_their_own:
                yield _node_of(method)


def _node_of(method: type[Method]) -> type[io.ComfyNode]:
    """A node that sets the method on a MODEL, in place of another one of its slot."""
    keeps = method.slot == "keep"

    class DeclaredPatch(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return patch_schema(
                node_id="DummyForcing" + method.name.title().replace("_", ""),
                display_name=f"{method.title} Patch",
                description=method.about,
                inputs=[
                    *option_inputs(method),
                    *([positions_input()] if keeps else []),
                ],
                gives="The model with this method.",
            )

        @classmethod
        def execute(cls, model, positions: str = AUTO, **options) -> io.NodeOutput:
            chosen = from_inputs(method, options)
            if keeps:
                return io.NodeOutput(with_keep(model, chosen, positions))
            memory = replace(memory_config(model), **{method.slot: chosen})
            return io.NodeOutput(with_memory(model, memory))

    DeclaredPatch.__name__ = DeclaredPatch.__qualname__ = f"{method.__name__}Patch"
    return DeclaredPatch
