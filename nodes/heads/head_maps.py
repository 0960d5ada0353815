"""The head maps that browsers may look at: the newest ones of each node.

A node puts a token into its `ui`. ComfyUI caches the token together with the node's result and repeats it for every
node that it serves from the cache: such a node shows the maps of that token.
"""

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

from ...core.heads.head_map import USUAL_LATENTS, HeadMap, MapCosts, Origin
from ...core.heads.profile import HeadProfile, forced_in
from ...core.methods.dummy_forcing import DummyForcing
from ...core.methods.dummy_forcing.profiled import with_profile
from ..host.frontend import NodePlace, RunningNode, running_node, shown_in, tell_browsers
from ..host.patched_models import causal_backbone, shape_of
from ..host.prompt_graph import constants_of, nodes_behind
from ..host.sampling_run import HeadsFound
from ..video.model_facts import model_facts

logger = logging.getLogger("dummy_forcing")

EVENT = "dummy_forcing.head_map"
OUTPUT = "dummy_forcing_heads"
"""The key in a node's `ui` that holds the token of its maps."""
PATCH = "DummyForcingPatch"
MOST_MAPS = 64
MOST_OF_NODE = 16


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

    def publish(
        self, make: Callable[[], HeadMap], token: str, where: Callable[[RunningNode], NodePlace | None]
    ) -> None:
        """Keep a map under its token and show it on the node for which it was made, if that is in a graph.

        A map that cannot be made or sent costs a line in the log and nothing else: it must not spoil a run that may
        have taken long.

        Args:
            where: gives the place of that node, from the node that is executed; not called without a server.
        """
        try:
            running = running_node()
            if running is None:
                return
            place = where(running)
            content = to_json(make(), token, place)
            with self._lock:
                self._keep(content)
            if place is not None:
                self._send(content)
        except Exception as error:
            logger.warning("this run has no head map: %r", error)

    def of_workflow(self, workflow_id: str) -> list[dict[str, Any]]:
        """Maps that a workflow's nodes have made or been served from ComfyUI's cache, in the order of receipt."""
        with self._lock:
            maps = list(self._maps)
        return shown_in(workflow_id, OUTPUT, maps, "token")

    def _keep(self, content: dict[str, Any]) -> None:
        node = content["workflow_id"], content["node_id"]
        own = [each for each in self._maps if (each["workflow_id"], each["node_id"]) == node]
        if len(own) == self._most_of_node:
            self._maps.remove(own[0])
        self._maps = [*self._maps, content][-self._most_maps :]


def to_json(found: HeadMap, token: str | None = None, place: NodePlace | None = None) -> dict[str, Any]:
    """A map as web/PROTOCOL.md describes it; without a place it names no node."""
    where = {"node_id": None, "workflow_id": None} if place is None else asdict(place)
    now = time.time()
    return {"id": secrets.token_hex(16), "token": token, **where, "made": now, "served": now, **found.to_dict()}


def new_token() -> str:
    """A token for the maps of one result of a node."""
    return secrets.token_hex(16)


def publish_own(make: Callable[[], HeadMap]) -> dict[str, list[str]]:
    """Show a map on the node that is executed; returns what goes into its `ui`."""
    token = new_token()
    HEAD_MAPS.publish(make, token, lambda running: running.place(running.node_id))
    return {OUTPUT: [token]}


def map_of_profile(
    origin: Origin,
    profile: HeadProfile,
    keep: DummyForcing | None = None,
    name: str | None = None,
    latent_frames: int = USUAL_LATENTS,
) -> HeadMap:
    """A profile as a map.

    Args:
        keep: the method that uses the profile, with its roles; None for the roles as they were measured.
        name: what to call it; None for the prompts that it was measured on.
        latent_frames: length of the video for which costs are given.
    """
    inherited = () if keep is None else forced_in(profile)
    keep = keep or DummyForcing(**with_profile({}, profile))
    named = " / ".join(profile.prompts) if name is None else name
    costs = MapCosts.of_profile(profile, latent_frames)
    return HeadMap(origin, named, profile.masses, torch.tensor(keep.roles), keep, costs, inherited)


def usual_latents(model) -> int:
    """Latent frames of a video that a MODEL's family usually makes."""
    facts = model_facts(model)
    return facts.family.latent_frames if facts and facts.family else USUAL_LATENTS


@dataclass(frozen=True)
class VideoMaps:
    """Attached to a MODEL: shows the heads measured in the MODEL's videos on the node that patched it.

    ComfyUI may have cached the MODEL, so the node is looked for in the prompt that makes the video.

    token: the token in that node's `ui`.
    keep: the method that the node has set. Where a later node has set another, there is nothing to show on it.
    constants: the node's inputs that are not links.
    """

    token: str
    keep: DummyForcing
    constants: dict[str, Any]

    @classmethod
    def of_running_node(cls, keep: DummyForcing) -> VideoMaps:
        """For the patch node that is executed."""
        running = running_node()
        constants = {} if running is None else constants_of(running.prompt, running.node_id)
        return cls(new_token(), keep, constants)

    def __call__(self, model, found: HeadsFound) -> None:
        """Take what was found in a video of this MODEL."""
        if found.keep == self.keep:
            HEAD_MAPS.publish(partial(_map_of_video, model, found), self.token, self._place)

    def _place(self, running: RunningNode) -> NodePlace | None:
        """The place of the node in this prompt whose output the MODEL is, made or served from the cache."""
        patches = nodes_behind(running.prompt, running.node_id, PATCH)
        own = (each for each in patches if constants_of(running.prompt, each) == self.constants)
        return next((running.place(each) for each in own), None)


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
"""The maps of this ComfyUI."""
