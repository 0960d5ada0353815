"""What ComfyUI gets from the pack."""

from __future__ import annotations

import logging

from comfy_api.latest import ComfyExtension, io

from ..core.errors import DummyForcingError
from .host import NEEDED, missing_symbols

logger = logging.getLogger("dummy_forcing")


class DummyForcingExtension(ComfyExtension):
    """The nodes, or none of them where ComfyUI lacks what they need."""

    def __init__(self) -> None:
        self._missing = missing_symbols()
        if self._missing:
            logger.error(
                "Dummy Forcing needs %s: this ComfyUI lacks %s; its nodes are left out. Update ComfyUI.",
                NEEDED,
                ", ".join(self._missing),
            )

    async def on_load(self) -> None:
        if not self._missing:
            from .head_profiles import register_folder

            DummyForcingError.remedy_first = True  # of long messages, ComfyUI shows the beginning
            register_folder()
            _add_routes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [] if self._missing else _nodes()


def _add_routes() -> None:
    from . import head_map_routes, live_routes, texts
    from .frontend import prompt_server

    server = prompt_server()
    if server is not None:
        live_routes.add_routes(server.routes)
        head_map_routes.add_routes(server.routes)
        texts.add_routes(server.routes)


def _nodes() -> list[type[io.ComfyNode]]:
    from .ann_attention import ANNAttentionPatch
    from .compare import CompareVideos
    from .compile import ARCompile
    from .dummy_forcing_patch import DummyForcingPatch
    from .head_profiles import LoadHeadProfile, SaveHeadProfile
    from .kv_quantisation import ARKVQuantisation
    from .kv_window import ARKVWindow
    from .light_forcing_patch import LightForcingPatch
    from .load_model import LoadARVideoModel
    from .model_info import ARModelInfoNode
    from .pass_skip import ARPassSkip
    from .profile_heads import ProfileDummyHeads
    from .prompt_schedule import ARPromptSchedule
    from .speed_preset import ARSpeedPreset
    from .stream_video import StreamARVideo
    from .streaming_sampler import ARStreamingSamplerNode
    from .temp_cache_patch import TempCachePatch
    from .toy_world import ToyWorld

    return [
        LoadARVideoModel,
        ToyWorld,
        DummyForcingPatch,
        ARKVWindow,
        LightForcingPatch,
        ANNAttentionPatch,
        ARKVQuantisation,
        TempCachePatch,
        ARPassSkip,
        ARCompile,
        ARSpeedPreset,
        StreamARVideo,
        CompareVideos,
        ARStreamingSamplerNode,
        ProfileDummyHeads,
        ARPromptSchedule,
        SaveHeadProfile,
        LoadHeadProfile,
        ARModelInfoNode,
    ]
