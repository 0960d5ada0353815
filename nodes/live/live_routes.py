"""Routes for live streams: their state, their chunks, another prompt, stop. web/PROTOCOL.md describes them.

They are part of ComfyUI's own route table, so that its rules for origins hold here too. A client names streams by
random ids and chunks by number; it never sees or sends a path.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from .answers import answer, error, refuse, workflow_id
from .live_stream import LiveStream
from .live_streams import STREAMS, LiveStreams

PREFIX = "/dummy_forcing/streams"
MOST_TEXT = 4000  # characters of a prompt
_MOST_BODY = 32 * 1024  # bytes, enough for that text in JSON


def add_routes(routes: web.RouteTableDef, streams: LiveStreams = STREAMS) -> None:
    """Put the routes on ComfyUI's table."""
    one = PREFIX + "/{prompt_id}/{stream_id}"

    @routes.get(PREFIX)
    async def list_streams(request: web.Request) -> web.Response:
        return answer({"streams": streams.states_of(workflow_id(request))})

    @routes.get(one)
    async def get_state(request: web.Request) -> web.Response:
        return answer(_stream(request, streams).state())

    @routes.get(one + r"/chunks/{index:\d{1,9}}")
    async def get_chunk(request: web.Request) -> web.StreamResponse:
        file = _stream(request, streams).chunk_file(int(request.match_info["index"]))
        if file is None or not file.is_file():
            return refuse(404, "no_chunk")
        # no-store: the browser would otherwise keep hours of video on the user's disk.
        headers = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
        return web.FileResponse(file, headers={**headers, "Cache-Control": "no-store"})

    @routes.post(one + "/prompt")
    async def change_prompt(request: web.Request) -> web.Response:
        stream, body = _stream(request, streams), await _body(request)
        text = body.get("text")
        if not isinstance(text, str) or not text.strip() or len(text) > MOST_TEXT:
            return refuse(400, f"A prompt has 1 to {MOST_TEXT} characters.")
        refused = stream.change_prompt(text.strip())
        return refuse(409, refused) if refused else answer(stream.state())

    @routes.post(one + "/stop")
    async def stop(request: web.Request) -> web.Response:
        stream, _ = _stream(request, streams), await _body(request)
        if not stream.running:
            return refuse(409, "over")
        stream.ask_stop()
        return answer(stream.state())


def _stream(request: web.Request, streams: LiveStreams) -> LiveStream:
    found = streams.find(request.match_info["prompt_id"], request.match_info["stream_id"])
    if found is None:
        raise web.HTTPNotFound(**error("no_stream"))
    return found


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object sent. Other content types are refused: without preflight, any page could send them."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(**error("Send application/json."))
    data = await request.content.read(_MOST_BODY + 1)
    while len(data) <= _MOST_BODY and (more := await request.content.read(_MOST_BODY + 1 - len(data))):
        data += more
    if len(data) > _MOST_BODY:
        raise web.HTTPRequestEntityTooLarge(_MOST_BODY, len(data), **error(f"Send at most {_MOST_BODY} bytes."))
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):  # bytes that are no UTF-8, too
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(**error("Send a JSON object."))
    return body
