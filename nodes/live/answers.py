"""What routes have in common: how they answer, and what they ask of a request."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

_MOST_ID = 128

REFUSALS = {
    "no_clip": "To change the prompt while the video is made, connect a CLIP to the node.",
    "no_prompt": "A comparison has no prompt.",
    "over": "The video is over.",
    "no_stream": "There is no such stream.",
    "no_chunk": "This chunk is not there.",
}
"""Why something is refused to people, by code: the player says it in their language.

`locales/<language>/main.json` has them as `live.refused.<code>`; the English here is for other clients.
"""


def answer(content: dict[str, Any]) -> web.Response:
    """JSON that no browser caches."""
    return web.json_response(content, headers={"Cache-Control": "no-store"})


def refuse(status: int, reason: str) -> web.Response:
    """reason: a code of `REFUSALS` or, where only a program can have made the mistake, a sentence."""
    return web.json_response(_reason(reason), status=status)


def error(reason: str) -> dict[str, str]:
    """The same for one of aiohttp's exceptions: `raise web.HTTPNotFound(**error("no_stream"))`."""
    return {"text": json.dumps(_reason(reason)), "content_type": "application/json"}


def workflow_id(request: web.Request) -> str:
    """The graph that a page asks about; raises HTTPBadRequest if it names none."""
    found = request.query.get("workflow_id", "")
    if not 0 < len(found) <= _MOST_ID:
        raise web.HTTPBadRequest(**error("Give the workflow_id of an open workflow."))
    return found


def _reason(reason: str) -> dict[str, str]:
    return {"error": REFUSALS[reason], "code": reason} if reason in REFUSALS else {"error": reason}
