"""The head maps that browsers may look at: the newest ones of each node."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from ..core.heads.head_map import USUAL_LATENTS, HeadMap, MapCosts, Origin
from ..core.heads.profile import HeadProfile, forced_in
from ..core.memory.dummy_forcing import DummyForcing
from ..core.memory.profiled import with_profile
from .frontend import NodePlace, running_workflow_id, tell_browsers
from .host import causal_backbone
from .model_facts import model_facts
from .module_shape import shape_of
from .sampling_run import HeadsFound

logger = logging.getLogger("dummy_forcing")

EVENT = "dummy_forcing.head_map"
MOST_MAPS = 64
MOST_OF_NODE = 4


class HeadMaps:
    """Maps as browsers get them, oldest first. Bounded: the oldest of a node go first, then the oldest of all."""

    def __init__(
        self, send: Callable[[dict[str, Any]], None], most_maps: int = MOST_MAPS, most_of_node: int = MOST_OF_NODE
    ):
        """send: brings a map to every browser."""
        self._send = send
        self._most_maps, self._most_of_node = most_maps, most_of_node
        self._maps: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def publish(self, make: Callable[[], HeadMap], where: Callable[[], NodePlace | None]) -> None:
        """Show a map on a node, if that is on a graph; callable from any thread.

        A map that cannot be made or sent costs a line in the log and nothing else: it is an extra of a run that may
        have taken long.
        """
        try:
            place = where()
            if place is None:
                return
            content = to_json(make(), place)
            with self._lock:
                self._keep(content)
            self._send(content)
        except Exception as error:
            logger.warning("this run has no head map: %r", error)

    def of_workflow(self, workflow_id: str) -> list[dict[str, Any]]:
        """Maps of the nodes of a workflow, oldest first."""
        with self._lock:
            return [content for content in self._maps if content["workflow_id"] == workflow_id]

    def _keep(self, content: dict[str, Any]) -> None:
        node = content["workflow_id"], content["node_id"]
        own = [each for each in self._maps if (each["workflow_id"], each["node_id"]) == node]
        if len(own) == self._most_of_node:
            self._maps.remove(own[0])
        self._maps = [*self._maps, content][-self._most_maps :]


def to_json(found: HeadMap, place: NodePlace | None = None) -> dict[str, Any]:
    """A map as web/PROTOCOL.md has it; without a place it belongs to no node."""
    where = {"node_id": None, "workflow_id": None} if place is None else asdict(place)
    return {"id": secrets.token_hex(16), **where, "made": time.time(), **found.to_dict()}


def map_of_profile(
    origin: Origin,
    profile: HeadProfile,
    keep: DummyForcing | None = None,
    name: str | None = None,
    latent_frames: int = USUAL_LATENTS,
) -> HeadMap:
    """A profile as a map.

    Args:
        keep: the memory that it is used in, with the roles; None for as it was measured.
        name: what to call it; None for the prompts that it was measured on.
        latent_frames: length of video to compare at.
    """
    inherited = () if keep is None else forced_in(profile)
    keep = keep or DummyForcing(**with_profile({}, profile))
    named = " / ".join(profile.prompts) if name is None else name
    costs = MapCosts.of_profile(profile, latent_frames)
    return HeadMap(origin, named, profile.masses, torch.tensor(keep.roles), keep, costs, inherited)


def usual_latents(model) -> int:
    """Latent frames that a MODEL's family makes."""
    facts = model_facts(model)
    return facts.family.latent_frames if facts and facts.family else USUAL_LATENTS


@dataclass(frozen=True)
class VideoMaps:
    """On a MODEL: shows the heads that are measured while it makes a video on the node that patched it.

    keep: what that node has set. Where another has set something else since, there is nothing to show on it.
    """

    node_id: str
    keep: DummyForcing

    def __call__(self, model, found: HeadsFound) -> None:
        """Take what was found in a video of this MODEL."""
        if found.keep == self.keep:
            HEAD_MAPS.publish(partial(_map_of_video, model, found), self._place)

    def _place(self) -> NodePlace | None:
        workflow_id = running_workflow_id()
        return None if workflow_id is None else NodePlace(self.node_id, workflow_id)


def _map_of_video(model, found: HeadsFound) -> HeadMap:
    costs = MapCosts.of(
        shape_of(causal_backbone(model)),
        found.tokens_per_frame,
        found.chunk_frames,
        usual_latents(model),
        found.text_tokens,
    )
    return HeadMap("video", "", found.masses, found.roles, found.keep, costs)


HEAD_MAPS = HeadMaps(partial(tell_browsers, EVENT))
"""Those of this ComfyUI."""
