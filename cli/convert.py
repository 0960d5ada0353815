"""`dummy-forcing convert`: a checkpoint of any layout as one that ComfyUI itself loads as a causal model."""

from __future__ import annotations

import argparse

import torch

from ..core.checkpoints.convert import convert as write_converted
from ..core.checkpoints.opened import OpenedBackbone, open_backbone
from ..core.stream.tally import format_bytes
from .console import open_console, require, say
from .outputs import check_outputs, check_suffix, typed_inputs

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp8": torch.float8_e4m3fn,
}


def convert(args: argparse.Namespace) -> None:
    """Run the command; DummyForcingError for bad input, before anything is written."""
    require("rich")
    check_suffix(args.output, (".safetensors",), "a checkpoint")
    check_outputs([args.output], {"the file to convert": args.input, **typed_inputs(args, "lora")})
    console = open_console()
    opened = open_backbone(args.input, args.family, args.lora)
    found = opened.detected
    say(console, f"{args.input} is {found.family.title}: {found.reason}")
    for note in _what_changes(opened):
        say(console, f"  {note}")
    write_converted(opened, args.output, _DTYPES.get(args.dtype))
    size = format_bytes(args.output.stat().st_size)
    say(console, f"wrote {args.output}: {size}; ComfyUI's own Load Diffusion Model node loads it as causal")
    say(console, f"licence of the published weights: {found.family.licence}")


def _what_changes(opened: OpenedBackbone) -> list[str]:
    merged = [] if opened.lora is None else [f"the LoRA {opened.lora.name} is merged"]
    return [*opened.normal.notes, *merged]
