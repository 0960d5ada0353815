"""`--speed`: one option in place of those for memory, selection, passes and FP8."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..core.errors import DummyForcingError
from ..core.presets import PRESETS, FittedPreset, SpeedPreset
from .arguments import POLICY, SELECT, TOY
from .console import say
from .method_options import PRESET, all_flags

if TYPE_CHECKING:
    from rich.console import Console

_ONE_EACH = (POLICY, SELECT)
_SET_BY_IT = (
    *(f"--{selector.flag}" for selector in _ONE_EACH),
    *(flag for slot in ("keep", "select", "passes") for flag in all_flags(slot)),
    "--profile",
    "--save-profile",
    "--rope",
    f"--{PRESET}",
)


def read_speed(args: argparse.Namespace) -> SpeedPreset | None:
    """The preset asked for, if any; if it uses FP8, `args.fp8` is set.

    Raises DummyForcingError for options that contradict it.
    """
    if args.speed is None:
        return None
    typed = {argument.partition("=")[0] for argument in args.argv}
    stray = next((flag for flag in _SET_BY_IT if flag in typed), None)
    if stray is not None:
        raise DummyForcingError(f"--speed {args.speed} sets what {stray} would; leave one of them out")
    preset = PRESETS[args.speed]
    args.fp8 = args.fp8 or preset.fp8
    return preset


def say_speed(console: Console, args: argparse.Namespace, preset: SpeedPreset, fitted: FittedPreset) -> None:
    """Print what the preset has set."""
    decoder = "the VAE itself"
    if args.decoder is not None:
        decoder = str(args.decoder)
    elif preset.decoders and args.model != TOY:
        decoder += f"; --decoder {preset.decoders[0]}.safetensors would be faster"
    linears = "FP8" if args.fp8 else "as loaded"
    lines = [
        f"{args.speed}: {preset.summary}",
        *fitted.describe(),
        f"linear layers: {linears}",
        f"decoder: {decoder}",
    ]
    for line in lines:
        say(console, line)
