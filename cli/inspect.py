"""`dummy-forcing inspect`: what a checkpoint is, how it is run and what it still needs."""

from __future__ import annotations

import argparse

from ..core.checkpoints.facts import CheckpointFacts, inspect_checkpoint
from ..core.checkpoints.families.family import Family
from ..core.stream.tally import format_bytes
from .console import open_console, require, say
from .outputs import check_outputs
from .report import report_paths, write_report

_WIDTH = 20  # of the left column


def inspect(args: argparse.Namespace) -> None:
    """Run the command; DummyForcingError for a file that is no backbone."""
    require("rich")
    check_outputs(report_paths(args.json), {"the file to inspect": args.input})
    console = open_console(args.json)
    facts = inspect_checkpoint(args.input, args.family)
    for title, text in _lines(facts):
        say(console, f"{title:<{_WIDTH}}{text}")
    if args.json is not None:
        write_report(args.json, facts.to_dict())


def _lines(facts: CheckpointFacts) -> list[tuple[str, str]]:
    shape, files = facts.shape, "" if facts.files == 1 else f" in {facts.files} files"
    lines = [
        ("file", f"{facts.path}, {format_bytes(facts.file_bytes)}{files}"),
        ("family", f"{facts.family.title} ({facts.family.name})" if facts.family else "cannot be told"),
        ("because", facts.reason),
    ]
    if facts.family:
        lines += _family_lines(facts.family)
    lines += [
        (
            "backbone",
            f"{facts.parameters:,} parameters in {facts.tensors} tensors; {shape['layers']} layers, "
            f"{shape['heads']} heads, width {shape['dim']}",
        ),
        ("types", ", ".join(f"{name} {count:,}" for name, count in facts.dtypes.items())),
    ]
    lines += [("layout", note) for note in facts.layout]
    if facts.merged:
        lines.append(("LoRA", f"merged: {facts.merged}"))
    lines += [("still needed", each) for each in facts.missing]
    lines.append(("ComfyUI alone", _in_comfyui(facts)))
    if facts.kv:
        height, width = facts.kv.pixel_size
        lines.append(
            (
                "KV cache",
                f"{format_bytes(facts.kv.peak_bytes)} in bfloat16 for {facts.kv.latent_frames} latent frames of "
                f"{width} x {height} pixels",
            )
        )
    return lines


def _family_lines(family: Family) -> list[tuple[str, str]]:
    lines = [
        ("run with", family.how_it_runs),
        ("licence", family.licence),
        ("source", family.source),
    ]
    return [*lines, ("Dummy Forcing", family.heads_note)] if family.heads_note else lines


def _in_comfyui(facts: CheckpointFacts) -> str:
    """What ComfyUI's own loader takes the file for, and what to do if that is wrong."""
    if facts.is_causal_in_comfyui:
        return f"loads it as {facts.comfyui}"
    return f"loads it as {facts.comfyui}; use Load AR Video Model, or `dummy-forcing convert` once"
