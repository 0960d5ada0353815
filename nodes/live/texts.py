"""Texts that nodes show about their results, also where ComfyUI serves these from its cache: web/PROTOCOL.md."""

from __future__ import annotations

from aiohttp import web

from ..host.frontend import outputs_of
from .answers import answer, workflow_id

OUTPUT = "dummy_forcing_text"
"""The key in a node's `ui` that holds its text."""
PATH = "/dummy_forcing/texts"


def add_routes(routes: web.RouteTableDef) -> None:
    """Put the route on ComfyUI's table."""

    @routes.get(PATH)
    async def list_texts(request: web.Request) -> web.Response:
        last = {said.node_id: said.value for said in outputs_of(workflow_id(request), OUTPUT)}
        return answer({"texts": [{"node_id": node_id, "text": text} for node_id, text in last.items()]})
