"""The words behind a conditioning: they do not travel on the wire, but the prompt that ComfyUI runs has them."""

from __future__ import annotations

from typing import Any

from ..host.prompt_graph import Prompt, inputs_of, is_link

_TEXT_NAMES = ("text", "prompt", "string", "value")
_FARTHEST = 8  # nodes between an input and its text


def find_text(prompt: Prompt | None, node_id: str | None, name: str) -> str | None:
    """The text that input `name` of a node comes from, going up the wires; None if none is found.

    A node that mixes several prompts gives the first.
    """
    return _behind(prompt, inputs_of(prompt, node_id).get(name), _FARTHEST)


def find_later_texts(prompt: Prompt | None, node_id: str | None, count: int) -> list[str | None]:
    """The texts of the AR Prompt Schedule on input `prompts` of a node, `count` of them."""
    link = inputs_of(prompt, node_id).get("prompts")
    inputs = inputs_of(prompt, link[0]) if is_link(prompt, link) else {}
    grown = [value for key, value in inputs.items() if key.startswith("prompts.") and is_link(prompt, value)]
    found = [_behind(prompt, value, _FARTHEST) for value in grown]
    return found if len(found) == count else [None] * count


def _behind(prompt: Prompt | None, value: Any, steps: int) -> str | None:
    if isinstance(value, str):
        return value
    if not is_link(prompt, value) or not steps:
        return None
    inputs = inputs_of(prompt, value[0])
    for name in _TEXT_NAMES:
        if name in inputs and (found := _behind(prompt, inputs[name], steps - 1)) is not None:
            return found
    links = (each for name, each in inputs.items() if name not in _TEXT_NAMES and is_link(prompt, each))
    return next((found for each in links if (found := _behind(prompt, each, steps - 1)) is not None), None)
