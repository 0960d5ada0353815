"""From command-line options to which of the kept keys queries read."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.errors import DummyForcingError
from ..core.memory.ann_ca import AnnCA
from ..core.memory.ann_sa import AnnSA
from ..core.memory.cross import AllTokens, CrossMethod
from ..core.memory.keep import KeepShape
from ..core.memory.light_forcing import PRESETS, LightForcing
from ..core.memory.light_plan import describe_sparsity
from ..core.memory.select import AllKeys, SelectMethod
from ..core.stream.config import StreamConfig
from .arguments import ALL_KEYS, ANN, LIGHT_FORCING
from .console import say

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel

# Option as typed -> field of the method.
_ANN_OPTIONS = {
    "ann_search": "search",
    "ann_bits": "bits",
    "ann_share": "share",
    "ann_radius": "radius",
    "ann_history": "min_frames",
    "ann_recall": "min_recall",
}
# Method as typed -> options as typed.
_OPTIONS: dict[str, tuple[str, ...]] = {
    ALL_KEYS: (),
    LIGHT_FORCING: ("preset", "sparsity", "block_size"),
    ANN: (*_ANN_OPTIONS, "block_size"),
}


def read_select(args: argparse.Namespace) -> SelectMethod:
    """Raises DummyForcingError for options of another method or out of range."""
    own = _OPTIONS[args.select]
    for method, options in _OPTIONS.items():
        stray = [option for option in options if option in args and option not in own]
        if stray:
            flag = "--" + stray[0].replace("_", "-")
            raise DummyForcingError(f"{flag} belongs to --select {method}; leave it out or switch")
    methods = {ALL_KEYS: lambda args: AllKeys(), LIGHT_FORCING: _light_forcing, ANN: _ann}
    return methods[args.select](args)


def read_cross(args: argparse.Namespace) -> CrossMethod:
    """Which tokens of the prompt are read."""
    return AnnCA() if args.cross == ANN else AllTokens()


def say_selection(console: Console, config: StreamConfig, model: ARVideoModel) -> None:
    """Print what is going to be read, if that is not everything."""
    backbone = model.backbone.shape
    shape = KeepShape(backbone.layers, backbone.heads, config.chunk_frames, config.first_frames)
    schedule = describe_sparsity(config.memory, shape, config.memory_frames)
    if schedule is not None:
        say(console, schedule)


def _light_forcing(args: argparse.Namespace) -> LightForcing:
    method = PRESETS[getattr(args, "preset", next(iter(PRESETS)))]
    if "sparsity" in args:
        method = replace(method, sparsity=args.sparsity, base=None)
    if "block_size" in args:
        method = replace(method, block_q=args.block_size, block_k=args.block_size)
    return method


def _ann(args: argparse.Namespace) -> AnnSA:
    fields = {**_ANN_OPTIONS, "block_size": "block"}
    return AnnSA(**{field: getattr(args, option) for option, field in fields.items() if option in args})
