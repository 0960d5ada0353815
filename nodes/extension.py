"""What ComfyUI gets from the pack."""

from __future__ import annotations

import logging

from comfy_api.latest import ComfyExtension, io

from ..core.errors import DummyForcingError
from .host.symbols import NEEDED, missing_symbols

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
            from .heads.head_profiles import register_folder

            DummyForcingError.remedy_first = True  # ComfyUI shows only the beginning of long messages
            register_folder()
            _add_routes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [] if self._missing else node_classes()


def _add_routes() -> None:
    from .heads import head_map_routes
    from .host.frontend import prompt_server
    from .live import live_routes, texts

    server = prompt_server()
    if server is not None:
        live_routes.add_routes(server.routes)
        head_map_routes.add_routes(server.routes)
        texts.add_routes(server.routes)


def node_classes() -> list[type[io.ComfyNode]]:
    """All nodes; those made from the declarations of methods alone come last."""
    from ..core.methods.ann import AnnCA, AnnSA
    from ..core.methods.dummy_forcing import DummyForcing
    from ..core.methods.kv_quantisation import QuantisedKV
    from ..core.methods.light_forcing import LightForcing
    from ..core.methods.temp_cache import TempCache
    from ..core.methods.window import Window
    from .compare.compare_videos import CompareVideos
    from .heads.head_profiles import LoadHeadProfile, SaveHeadProfile
    from .heads.profile_heads import ProfileDummyHeads
    from .patches.ann_attention import ANNAttentionPatch
    from .patches.compile_blocks import ARCompile
    from .patches.declared_nodes import declared_nodes
    from .patches.dummy_forcing_patch import DummyForcingPatch
    from .patches.kv_quantisation_patch import ARKVQuantisation
    from .patches.kv_window import ARKVWindow
    from .patches.light_forcing_patch import LightForcingPatch
    from .patches.pass_skip_patch import ARPassSkip
    from .patches.speed_preset import ARSpeedPreset
    from .patches.temp_cache_patch import TempCachePatch
    from .video.load_model import LoadARVideoModel
    from .video.model_info import ARModelInfoNode
    from .video.prompt_schedule import ARPromptSchedule
    from .video.stream_video import StreamARVideo
    from .video.streaming_sampler import ARStreamingSamplerNode
    from .video.toy_world import ToyWorld

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
        *declared_nodes({Window, DummyForcing, LightForcing, AnnSA, AnnCA, QuantisedKV, TempCache}),
    ]
