"""From command-line options to which of the kept keys queries read."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.errors import DummyForcingError
from ..core.memory.keep import KeepShape
from ..core.memory.light_forcing import PRESETS, LightForcing
from ..core.memory.light_plan import describe_sparsity
from ..core.memory.select import AllKeys, SelectMethod
from ..core.stream.config import StreamConfig
from .arguments import ALL_KEYS, LIGHT_FORCING
from .console import say

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel

# Method as typed -> options as typed.
_OPTIONS: dict[str, tuple[str, ...]] = {
    ALL_KEYS: (),
    LIGHT_FORCING: ("preset", "sparsity", "block_size"),
}


def read_select(args: argparse.Namespace) -> SelectMethod:
    """Raises DummyForcingError for options of another method or out of range."""
    own = _OPTIONS[args.select]
    for method, options in _OPTIONS.items():
        stray = [option for option in options if option in args and option not in own]
        if stray:
            flag = "--" + stray[0].replace("_", "-")
            raise DummyForcingError(f"{flag} belongs to --select {method}; leave it out or switch")
    return _light_forcing(args) if args.select == LIGHT_FORCING else AllKeys()


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
