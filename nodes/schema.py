"""What the schemas of all nodes have in common, and what those of the patches share besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io


def node_schema(**fields: Any) -> io.Schema:
    """An `io.Schema` in the category of all our nodes."""
    return io.Schema(category="video/dummy forcing", **fields)


def patch_schema(*, inputs: Sequence[io.Input] = (), gives: str, **others: Any) -> io.Schema:
    """The schema of a patch.

    inputs: those after the model. gives: a sentence about the model that goes out. others: as for `io.Schema`.
    """
    model = io.Model.Input("model", tooltip="An AR video model; a LoRA may come before or after this node.")
    patched = io.Model.Output(display_name="model", tooltip=f"{gives} The model that came in stays as it is.")
    return node_schema(inputs=[model, *inputs], outputs=[patched], **others)
