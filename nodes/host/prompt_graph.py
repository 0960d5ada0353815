"""The prompt that ComfyUI runs, as a graph: `{node id: {"class_type": ..., "inputs": {name: value or link}}}`."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

Prompt = dict[str, Any]
_MOST_NODES = 1000  # searched at most


def is_link(prompt: Prompt | None, value: Any) -> bool:
    """Whether an input's value is another node's output, `[node id, slot]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in (prompt or {})


def inputs_of(prompt: Prompt | None, node_id: str | None) -> dict[str, Any]:
    """A node's inputs; none for a node that is not in the prompt, such as one added while it runs."""
    return ((prompt or {}).get(node_id) or {}).get("inputs", {})


def constants_of(prompt: Prompt | None, node_id: str | None) -> dict[str, Any]:
    """A node's inputs that are not links."""
    return {name: value for name, value in inputs_of(prompt, node_id).items() if not is_link(prompt, value)}


def texts_behind(prompt: Prompt | None, node_id: str | None, name: str) -> list[str]:
    """Every text that an input may have: its own, or those on all nodes behind its link."""
    value = inputs_of(prompt, node_id).get(name)
    if not is_link(prompt, value):
        return [value] if isinstance(value, str) else []
    nodes = _upstream(prompt, [value[0]], None)
    return [text for each in nodes for text in constants_of(prompt, each).values() if isinstance(text, str)]


def nodes_behind(prompt: Prompt | None, node_id: str, class_type: str) -> list[str]:
    """The nearest nodes of a kind that a node's inputs lead to; the search stops at each node of that kind."""
    nodes = _upstream(prompt, _sources(prompt, node_id), class_type)
    return [each for each in nodes if prompt[each].get("class_type") == class_type]


def signature(prompt: Prompt | None, node_id: str | None) -> str | None:
    """Hash of what a node is asked for, with the nodes behind its links: equal for equal graphs, whatever the ids.

    None for a node that is not in the prompt.
    """
    return _signature(prompt, node_id, {}) if node_id in (prompt or {}) else None


def _signature(prompt: Prompt, node_id: str, known: dict[str, str]) -> str:
    """known: the signatures so far, by id; each node is read once."""
    if node_id not in known:
        known[node_id] = ""  # ends a loop, which ComfyUI refuses later
        inputs = {
            name: (_signature(prompt, value[0], known), value[1]) if is_link(prompt, value) else repr(value)
            for name, value in inputs_of(prompt, node_id).items()
        }
        described = repr((prompt[node_id].get("class_type"), sorted(inputs.items())))
        known[node_id] = sha256(described.encode(errors="surrogatepass")).hexdigest()
    return known[node_id]


def _upstream(prompt: Prompt | None, begin: list[str], stop_at: str | None) -> Iterator[str]:
    """Nodes upstream of `begin`, breadth first, each once; the search stops at nodes of the kind `stop_at`."""
    waiting, seen = list(dict.fromkeys(begin)), set(begin)
    while waiting and len(seen) <= _MOST_NODES:
        node_id = waiting.pop(0)
        yield node_id
        if prompt[node_id].get("class_type") != stop_at:
            found = [each for each in _sources(prompt, node_id) if each not in seen]
            waiting += found
            seen.update(found)


def _sources(prompt: Prompt | None, node_id: str) -> list[str]:
    links = (value for value in inputs_of(prompt, node_id).values() if is_link(prompt, value))
    return list(dict.fromkeys(link[0] for link in links))
