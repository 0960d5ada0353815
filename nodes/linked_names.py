"""Names of files in `fingerprint_inputs`, where ComfyUI gives what is linked as None."""

from __future__ import annotations

from .frontend import running_node
from .prompt_graph import texts_behind


def named(name: str, value: str | None) -> list[str]:
    """The texts that an input may come to have: its own, or those that stand on the nodes behind its link.

    A name that is put together on the way is not among them.
    """
    if value is not None:
        return [value]
    node = running_node()
    return [] if node is None else texts_behind(node.prompt, node.node_id, name)
