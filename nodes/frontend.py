"""ComfyUI's frontend: where in its graphs a node stands, and word to every browser that is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfy_execution.utils import get_executing_context

_MOST_PROMPTS = 100  # that are looked through, the newest


@dataclass(frozen=True)
class NodePlace:
    """A node by its execution id (`12:5` in a subgraph) and the id of the frontend's graph."""

    node_id: str
    workflow_id: str


def node_place(hidden) -> NodePlace | None:
    """Where a node stands, from its hidden inputs; None for a prompt that comes from no graph."""
    workflow_id = workflow_id_of(hidden.extra_pnginfo) if hidden is not None else None
    return None if workflow_id is None else NodePlace(str(hidden.unique_id), workflow_id)


def workflow_id_of(extra: Any) -> str | None:
    """The graph's id in what came with a prompt, which may be anything."""
    workflow = extra.get("workflow") if isinstance(extra, dict) else None
    found = workflow.get("id") if isinstance(workflow, dict) else None
    return found if isinstance(found, str) else None


def running_workflow_id() -> str | None:
    """The id of the graph whose prompt this thread executes, for code that nodes other than ours call."""
    server, context = prompt_server(), get_executing_context()
    if server is None or context is None:
        return None
    running, _ = server.prompt_queue.get_current_queue_volatile()
    extras = [item[3] for item in running if item[1] == context.prompt_id]  # number, id, prompt, extra data, ...
    return workflow_id_of(extras[0].get("extra_pnginfo")) if extras else None


def outputs_of(workflow_id: str, key: str) -> list[tuple[str, Any]]:
    """What nodes of a graph have said under a key of their `ui`, oldest first: (node id, value).

    ComfyUI says the same for a node whose output it took from its cache, which may have been made by the same node
    of another graph, such as the same template opened twice.
    """
    server = prompt_server()
    if server is None:
        return []
    found = []
    for past in server.prompt_queue.get_history(max_items=_MOST_PROMPTS).values():
        _, _, _, extra, *_ = past["prompt"]
        if workflow_id_of(extra.get("extra_pnginfo")) == workflow_id:
            found += [(node, each) for node, said in past["outputs"].items() for each in (said or {}).get(key, ())]
    return found


def tell_browsers(event: str, data: dict[str, Any]) -> None:
    """To every browser: a workflow may be open in several."""
    server = prompt_server()
    if server is not None:
        server.send_sync(event, data)


def prompt_server():
    """ComfyUI's server, or None where there is none, as in tests."""
    from server import PromptServer

    return getattr(PromptServer, "instance", None)
