"""Routes for head maps: those of a workflow, and the profiles saved as files. web/PROTOCOL.md describes them.

A client names a file by an id that it was told; it never sends a name or path.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import folder_paths
from aiohttp import web

from ...core.errors import DummyForcingError
from ...core.heads.profile import HeadProfile
from ..live.answers import answer, error, refuse, workflow_id
from .head_maps import HEAD_MAPS, HeadMaps, map_of_profile, to_json
from .head_profiles import FOLDER, saved_profiles

PREFIX = "/dummy_forcing/head_maps"
MOST_SAVED = 1000  # files that are listed
_MOST_REASON = 500  # characters of an error, into which a damaged file may put anything


def add_routes(routes: web.RouteTableDef, maps: HeadMaps = HEAD_MAPS) -> None:
    """Put the routes on ComfyUI's table."""

    @routes.get(PREFIX)
    async def list_maps(request: web.Request) -> web.Response:
        return answer({"maps": maps.of_workflow(workflow_id(request))})

    @routes.get(PREFIX + "/saved")
    async def list_saved(request: web.Request) -> web.Response:
        names = await asyncio.to_thread(saved_profiles)
        return answer({"saved": [{"id": _id_of(name), "name": name} for name in names[:MOST_SAVED]]})

    @routes.get(PREFIX + "/saved/{id:[0-9a-f]{32}}")
    async def get_saved(request: web.Request) -> web.Response:
        try:
            return answer(await asyncio.to_thread(_saved_map, request.match_info["id"]))
        except DummyForcingError as damage:
            return refuse(400, str(damage)[:_MOST_REASON])


def _saved_map(wanted: str) -> dict[str, Any]:
    """Read the file with this id; raise HTTPNotFound if there is none, DummyForcingError, without the path, if it
    is no profile.
    """
    name = next((each for each in saved_profiles() if _id_of(each) == wanted), None)
    path = folder_paths.get_full_path(FOLDER, name) if name else None
    if path is None:
        raise web.HTTPNotFound(**error("There is no such head profile."))
    try:
        return to_json(map_of_profile("saved", HeadProfile.load(path), name=name))
    except DummyForcingError as damage:
        raise DummyForcingError(str(damage).replace(path, name)) from damage


def _id_of(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
