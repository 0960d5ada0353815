"""The words behind a conditioning: they do not travel on the wire, but the prompt that ComfyUI runs has them."""

from __future__ import annotations

from typing import Any

_TEXT_NAMES = ("text", "prompt", "string", "value")
_FARTHEST = 8  # nodes between


def find_text(prompt: dict[str, Any] | None, node_id: str | None, name: str) -> str | None:
    """The text that input `name` of a node comes from, going up the wires; None if none is found.

    A node that mixes several prompts gives the first.
    """
    node = (prompt or {}).get(node_id) or {}
    return _behind(prompt, node.get("inputs", {}).get(name), _FARTHEST)


def find_later_texts(prompt: dict[str, Any] | None, node_id: str | None, count: int) -> list[str | None]:
    """The texts of the AR Prompt Schedule on input `prompts` of a node, `count` of them."""
    link = ((prompt or {}).get(node_id) or {}).get("inputs", {}).get("prompts")
    inputs = prompt[link[0]].get("inputs", {}) if _is_link(prompt, link) else {}
    grown = [value for key, value in inputs.items() if key.startswith("prompts.") and _is_link(prompt, value)]
    found = [_behind(prompt, value, _FARTHEST) for value in grown]
    return found if len(found) == count else [None] * count


def _behind(prompt: dict[str, Any], value: Any, steps: int) -> str | None:
    if isinstance(value, str):
        return value
    if not _is_link(prompt, value) or not steps:
        return None
    inputs = prompt[value[0]].get("inputs", {})
    for name in _TEXT_NAMES:
        if name in inputs and (found := _behind(prompt, inputs[name], steps - 1)) is not None:
            return found
    links = (each for name, each in inputs.items() if name not in _TEXT_NAMES and _is_link(prompt, each))
    return next((found for each in links if (found := _behind(prompt, each, steps - 1)) is not None), None)


def _is_link(prompt: dict[str, Any] | None, value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in (prompt or {})
