"""From command-line options to which of the kept keys queries read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..core.methods.base import CrossMethod, SelectMethod
from ..core.stream.config import StreamConfig
from .arguments import CROSS, SELECT
from .console import say
from .method_options import read_method

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.checkpoints.model import ARVideoModel


def read_select(args: argparse.Namespace) -> SelectMethod:
    """Which kept keys are read; DummyForcingError for options of another method or out of range."""
    return read_method(args, "select", SELECT)


def read_cross(args: argparse.Namespace) -> CrossMethod:
    """Which tokens of the prompt are read."""
    return read_method(args, "cross", CROSS)


def say_selection(console: Console, config: StreamConfig, model: ARVideoModel) -> None:
    """Print what will be read, if that is not everything."""
    wan = model.backbone.shape
    said = config.memory.select.schedule(config.memory, config.video_shape(wan.layers, wan.heads))
    if said is not None:
        say(console, said)
