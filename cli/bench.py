"""`dummy-forcing bench`: what policies cost, side by side."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.bench.plot import check_plottable, draw_costs
from ..core.bench.rows import Row
from ..core.bench.run_bench import BenchResult, OtherPrograms, run_bench
from ..core.bench.setting import BenchSetting
from ..core.bench.shapes import DECODERS, RESOLUTIONS, SHAPES, BenchShape
from ..core.bench.typed_memories import parse_policies
from ..core.bench.workers import WorkerSubject, host_command, peer_command
from ..core.errors import DummyForcingError
from ..core.files import write_file
from ..core.stream.tally import format_bytes
from ..core.wan.shape import WanShape
from ..kernels.fp8 import fp8_path
from .console import open_console, print_table, require, say
from .models import pick_device, pick_dtype
from .outputs import check_outputs, check_suffix
from .policies import read_skip
from .report import describe_machine, environment, report_paths, write_report

if TYPE_CHECKING:
    from rich.console import Console

_SIZES = ("dim", "heads", "ffn")


def bench(args: argparse.Namespace) -> None:
    """Run the command; what is typed is checked before anything is measured."""
    require("rich", *(("PIL",) if args.plot else ()))
    console = open_console(args.json)
    setting = read_setting(args)
    commands = _read_programs(args, setting)
    _check_outputs(args, setting)
    facts = environment(args.argv, setting.device) | {"load_average": os.getloadavg()}
    say(console, f"{_describe(args, setting)}; {describe_machine(facts)}, load {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        others = _opener(commands, stack)
        # Shown on a terminal only, and redrawn only once a second so that drawing does not distort the times.
        status = stack.enter_context(console.status("", refresh_per_second=1))
        result = run_bench(setting, status.update, others, len(commands))
    print_rows(console, result.rows)
    if args.json is not None:
        write_report(args.json, facts | _to_dict(args, setting, result))
    if args.plot is not None:
        _write_plot(args, setting, result.rows)
        say(console, f"wrote {args.plot}")


def read_setting(args: argparse.Namespace) -> BenchSetting:
    """The setting that was typed; raises DummyForcingError if it makes no sense."""
    shape = _read_shape(args)
    if args.decoder is not None:
        shape = replace(shape, vae=DECODERS[args.decoder])
    device = pick_device(args.device)
    size = args.latent_size or RESOLUTIONS.get(args.resolution) or shape.latent_size
    return BenchSetting(
        shape=shape,
        latent_size=size,
        lengths=tuple(sorted(set(args.lengths))),
        policies=parse_policies(args.policies or ("dense", "window:12", "dummy-forcing:0.5")),
        device=device,
        dtype=pick_dtype(args.dtype, device, toy=False),
        chunk_frames=args.chunk_frames,
        steps=args.steps,
        clip=args.clip,
        repeats=args.repeats,
        warm_up=args.warm_up,
        seed=args.seed,
        skip=read_skip(args),
        decode=args.decode,
        fp8=args.fp8,
        compile=args.compile,
    )


def _read_shape(args: argparse.Namespace) -> BenchShape:
    typed = {name: getattr(args, name) for name in _SIZES if getattr(args, name) is not None}
    if args.shape == "custom":
        missing = [name for name in (*_SIZES, "layers") if getattr(args, name) is None]
        if missing:
            options = ", ".join(f"--{name}" for name in missing)
            raise DummyForcingError(f"a custom shape needs {options}; give them or choose --shape wan-1.3b")
        wan = WanShape(dim=args.dim, heads=args.heads, layers=args.layers, ffn_dim=args.ffn)
        return replace(SHAPES["wan-1.3b"], wan=wan)
    if typed:
        option = next(iter(typed))
        raise DummyForcingError(f"--{option} belongs to --shape custom; leave it out or choose that shape")
    shape = SHAPES[args.shape]
    return shape if args.layers is None else replace(shape, wan=replace(shape.wan, layers=args.layers))


def _read_programs(args: argparse.Namespace, setting: BenchSetting) -> list[tuple[str, Sequence[Any]]]:
    """Names and commands of other programs that are measured as well."""
    if (args.host or args.peer) and not args.clip:
        name = "--host" if args.host else "--peer"
        raise DummyForcingError(f"{name} generates whole videos; give --clip too")
    if (args.host or args.peer) and setting.fp8:
        raise DummyForcingError("--host and --peer run on the weights as they are; leave --fp8 out")
    programs = []
    if args.host:
        programs.append(("ComfyUI, dense", host_command(args.host, args.host_python)))
    if args.peer:
        programs.append(("authors' Dummy Forcing", peer_command(args.peer, setting.device.type == "cuda")))
    return programs


def _opener(commands: Sequence[tuple[str, Sequence[Any]]], stack: contextlib.ExitStack) -> OtherPrograms:
    def others(setting: BenchSetting, backbone) -> Iterator[WorkerSubject]:
        for name, command in commands:
            worker = WorkerSubject(name, command, setting, backbone)
            stack.callback(worker.close)
            yield worker

    return others


def _check_outputs(args: argparse.Namespace, setting: BenchSetting) -> None:
    check_suffix(args.plot, (".png",), "a plot")
    if args.plot is not None:
        check_plottable(setting.lengths, setting.clip)
    check_outputs([args.plot, *report_paths(args.json)])


def _describe(args: argparse.Namespace, setting: BenchSetting) -> str:
    wan = setting.shape.wan
    height, width = setting.latent_size
    kind = "whole clip" if setting.clip else "last chunk behind a random history"
    return (
        f"{args.shape} ({wan.layers} layers of {wan.dim}, {wan.heads} heads), random weights, "
        f"latents {height}x{width}, chunks of {setting.chunk_frames}, {setting.steps} + 1 passes, "
        f"{str(setting.dtype).removeprefix('torch.')}{_describe_fp8(setting)}{', compiled' * setting.compile}; "
        f"{kind}, median of {setting.repeats}"
    )


def _describe_fp8(setting: BenchSetting) -> str:
    return f", linears in FP8 by {fp8_path(setting.device)[0]}" if setting.fp8 else ""


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """A table for each length: figures down, policies across."""
    for length in sorted({row.latent_frames for row in rows}):
        group = [row for row in rows if row.latent_frames == length]
        header = (f"{length} latent frames", *(row.policy.split(",")[0] for row in group))
        body = [(title, *(show(row) for row in group)) for title, show in _FIGURES]
        print_table(console, header, [line for line in body if set(line[1:]) != {"-"}])
    for row in rows:
        if row.classification_seconds is not None:
            share = row.classification_seconds / (row.seconds_per_chunk * len(row.chunks))
            say(console, f"{row.policy}: head classification took {share:.2%} of the video's time")


def _show(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _number(name: str, form: str, unit: str = ""):
    return lambda row: _show(getattr(row, name), form, unit)


def _bytes(name: str):
    return lambda row: "-" if getattr(row, name) is None else format_bytes(getattr(row, name))


_FIGURES = (
    ("seconds a chunk", _number("seconds_per_chunk", ".3g")),
    ("  in self-attention", _number("attention_seconds", ".3g")),
    ("  in all else", _number("other_seconds", ".3g")),
    ("DiT FPS", _number("dit_fps", ".3g")),
    ("decode FPS", _number("decode_fps", ".3g")),
    ("end-to-end FPS", _number("end_to_end_fps", ".3g")),
    ("KV memory", _bytes("kv_bytes")),
    ("peak memory", _bytes("peak_bytes")),
    ("key frames a head", _number("key_frames", ".2f")),
    ("TFLOP/s", _number("tflops_per_second", ".3g")),
    ("faster than dense", _number("ratio_to_dense", ".2f", "x")),
    ("  by arithmetic", _number("ideal_ratio", ".2f", "x")),
    ("self-attention faster", _number("attention_ratio", ".2f", "x")),
    ("self-attention by arithmetic", _number("ideal_attention_ratio", ".2f", "x")),
)


def _to_dict(args: argparse.Namespace, setting: BenchSetting, result: BenchResult) -> dict[str, Any]:
    return {
        "setting": {
            "shape": args.shape,
            "model": setting.shape.wan.to_dict(),
            "decoder": (args.decoder or "own") if setting.decode else None,
            "vae_width": setting.shape.vae.width if setting.decode else None,
            "latent_size": setting.latent_size,
            "lengths": setting.lengths,
            "clip": setting.clip,
            "history": None if setting.clip else "random keys and values, committed chunk by chunk",
            "chunk_frames": setting.chunk_frames,
            "sigmas": setting.stream(setting.policies[0].memory, setting.lengths[0]).sigmas,
            "policies": [policy.name for policy in setting.policies],
            "skip": None if setting.skip is None else setting.skip.to_dict(),
            "dtype": str(setting.dtype).removeprefix("torch."),
            "fp8": fp8_path(setting.device)[0] if setting.fp8 else None,
            "compile": setting.compile,
            "device": setting.device.type,
            "seed": setting.seed,
            "repeats": setting.repeats,
            "warm_up": setting.warm_up,
        },
        "decode_seconds_per_chunk": result.decode_seconds,
        "load_average_after": os.getloadavg(),
        "rows": [row.to_dict() for row in result.rows],
    }


def _write_plot(args: argparse.Namespace, setting: BenchSetting, rows: Sequence[Row]) -> None:
    png = io.BytesIO()
    layers = setting.shape.wan.layers
    draw_costs(rows, f"{args.shape}, {layers} layer{'s' * (layers > 1)}").save(png, format="PNG")
    write_file(args.plot, png.getvalue())
