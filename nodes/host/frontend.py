"""ComfyUI's frontend: what its graphs run and show, and messages to every open browser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from comfy_execution.utils import get_executing_context

from .prompt_graph import Prompt, signature, texts_behind

_MOST_PROMPTS = 100  # the newest ones of the history, which are searched


@dataclass(frozen=True)
class NodePlace:
    """A node by its execution id (`12:5` in a subgraph) and the id of the frontend's graph."""

    node_id: str
    workflow_id: str


@dataclass(frozen=True)
class RunningNode:
    """The node that is being executed, or asked for its fingerprint, and its prompt.

    workflow_id: of the frontend's graph that the prompt comes from; None if it comes from no graph.
    """

    node_id: str
    prompt: Prompt
    workflow_id: str | None

    def place(self, node_id: str) -> NodePlace | None:
        """A node of this prompt in its graph; None if there is no graph."""
        return None if self.workflow_id is None else NodePlace(node_id, self.workflow_id)


@dataclass(frozen=True)
class Said:
    """A value that a node of a graph has returned in its `ui`, and when, in seconds since 1970."""

    node_id: str
    value: Any
    seconds: float


def workflow_id_of(extra: Any) -> str | None:
    """The graph's id in the data that came with a prompt; a client may send anything there."""
    workflow = extra.get("workflow") if isinstance(extra, dict) else None
    found = workflow.get("id") if isinstance(workflow, dict) else None
    return found if isinstance(found, str) else None


def running_node() -> RunningNode | None:
    """The node that this thread is running, also when another pack's node calls our code; None without a server."""
    server, context = prompt_server(), get_executing_context()
    if server is None or context is None:
        return None
    running, _ = server.prompt_queue.get_current_queue_volatile()
    for _, prompt_id, prompt, extra, *_ in running:
        if prompt_id == context.prompt_id:
            return RunningNode(context.node_id, prompt, workflow_id_of(extra.get("extra_pnginfo")))
    return None


def named(name: str, value: str | None) -> list[str]:
    """The names of files that an input may have, for `fingerprint_inputs`, which gets None for a linked input.

    They are the input's own value or all texts on the nodes behind its link. A name that these nodes put together
    is not among them.
    """
    if value is not None:
        return [value]
    node = running_node()
    return [] if node is None else texts_behind(node.prompt, node.node_id, name)


def running_signature() -> str | None:
    """The `signature` of the running node; None where it cannot be known."""
    node = running_node()
    return None if node is None else signature(node.prompt, node.node_id)


def outputs_of(workflow_id: str, key: str) -> list[Said]:
    """What nodes of a graph have returned under a key of their `ui`, oldest first.

    For a node whose output came from its cache, ComfyUI repeats the cached `ui`, which may stem from another node:
    one of the same graph, or of the same template opened twice.
    """
    server = prompt_server()
    if server is None:
        return []
    found = []
    for past in server.prompt_queue.get_history(max_items=_MOST_PROMPTS).values():
        _, _, _, extra, *_ = past["prompt"]
        if workflow_id_of(extra.get("extra_pnginfo")) == workflow_id:
            outputs, seconds = past["outputs"], _ended(past)
            found += [
                Said(node, each, seconds) for node, said in outputs.items() for each in (said or {}).get(key, ())
            ]
    return found


def shown_in(workflow_id: str, key: str, made: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """What the nodes of a graph show, in the order in which they received it.

    Args:
        key: of the nodes' `ui`, under which they say what they show.
        made: what there is to show, oldest first, each with the node that it was made for in `node_id` and
            `workflow_id`, and in `served` when that node got it, in seconds since 1970.
        name: the field of `made` whose value a node's `ui` has under the key.

    Returns:
        Those of `made` that nodes of this graph have made or been served from ComfyUI's cache, with these nodes. Of
        several with the same value a node gets its own or, if it has none, the newest.
    """
    made = list(made)
    found = {(each["id"], each["node_id"]): each for each in made if each["workflow_id"] == workflow_id}
    for said in outputs_of(workflow_id, key):
        same = [each for each in made if each[name] == said.value]
        own = [each for each in same if (each["id"], said.node_id) in found]
        for each in own or same[-1:]:
            place = {"workflow_id": workflow_id, "node_id": said.node_id}
            found[each["id"], said.node_id] = {**each, **place, "served": max(each["served"], said.seconds)}
    return sorted(found.values(), key=lambda each: each["served"])


def _ended(past: dict[str, Any]) -> float:
    """When a prompt of the history ended: the time of its last message."""
    messages = (past.get("status") or {}).get("messages") or [(None, {})]
    return messages[-1][1].get("timestamp", 0) / 1000


def tell_browsers(event: str, data: dict[str, Any]) -> None:
    """Send to every browser, since a workflow may be open in several."""
    server = prompt_server()
    if server is not None:
        server.send_sync(event, data)


def prompt_server():
    """ComfyUI's server, or None where there is none, as in tests."""
    from server import PromptServer

    return getattr(PromptServer, "instance", None)
