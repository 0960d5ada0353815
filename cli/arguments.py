"""What can be typed after `dummy-forcing`. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..core.checkpoints.families.table import AUTO, FAMILIES
from ..core.errors import DummyForcingError
from . import values, wording
from .method_options import Selector, add_method_options

FAMILY_MEMORY = "family"
AUTO_ROPE = "auto"
SPEEDS = ("quality", "balanced", "max")
POLICY = Selector("policy", "dummy-forcing", wording.POLICY, (FAMILY_MEMORY,))
MERGE = Selector("merge", "none", wording.MERGE)
SELECT = Selector("select", "all", wording.SELECT)
CROSS = Selector("cross", "all", wording.CROSS)
SWITCHES = ("cross-attention", "recache", "flush", "interpolate")
TOY = "toy"

_EXAMPLES = """examples:
  dummy-forcing demo
  dummy-forcing generate --prompt "a red circle moving right" --seconds 10 --output out/circle.mp4
  dummy-forcing generate --prompt "a red circle moving right" --prompts story.txt --extend out/circle.mp4
  dummy-forcing generate --model self_forcing_dmd.pt --vae wan_2.1_vae.safetensors \\
      --embedding cat.safetensors --size 480x832
  dummy-forcing profile --output heads.safetensors --picture heads.png
  dummy-forcing inspect longlive_base.pt
  dummy-forcing convert longlive_base.pt longlive.safetensors --lora lora.pt --dtype bfloat16
  dummy-forcing bench dense dummy-forcing:0.5 --shape wan-1.3b --layers 1 --no-decode
"""


class Parser(ArgumentParser):
    """Hands errors to `main`, which prints them as one line."""

    def error(self, message: str) -> NoReturn:
        """Raise DummyForcingError instead of printing usage and exiting."""
        raise DummyForcingError(f"{message}; see `{self.prog} --help`")


def build_parser() -> ArgumentParser:
    """The parser of all commands; the namespace it gives has the chosen one as `command`."""
    parser = Parser(
        prog="dummy-forcing",
        description="Streaming autoregressive video diffusion at flat memory.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_generate(commands)
    _add_profile(commands)
    _add_demo(commands)
    _add_convert(commands)
    _add_inspect(commands)
    _add_bench(commands)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, summary: str, details: str) -> ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {details}", allow_abbrev=False
    )


def _add_generate(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "generate",
        "generate one video",
        "Frames go to the file chunk by chunk, so memory does not grow with the length. "
        "After Ctrl-C the file holds the chunks finished so far.",
    )
    parser.add_argument("--prompt", help="what to show; the toy world has a default (a label with --embedding)")
    _add_model(parser)
    _add_compile(parser)
    parser.add_argument("--embedding", type=Path, metavar="FILE", help="text-encoder output, for --model PATH")
    parser.add_argument("--decoder", type=Path, metavar="FILE", help=wording.DECODER)
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds", type=values.duration, help="length at 16 frames a second, rounded up to whole chunks"
    )
    length.add_argument("--latents", type=values.count, metavar="N", help="length in latent frames, whole chunks")
    _add_size_and_steps(parser)
    parser.add_argument("--seed", type=values.seed, default=0, help=wording.SEED)
    parser.add_argument("--speed", choices=SPEEDS, help=wording.SPEED)
    _add_methods(parser)
    _add_story(parser)
    _add_given(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("out/video.mp4"),
        metavar="FILE",
        help=".mp4, .webm or .gif (default: out/video.mp4)",
    )
    _add_json(parser)


def _add_profile(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "profile",
        "measure what each attention head looks at",
        "Videos are generated with the dense memory; the roles follow from the masses of the clean passes, "
        "averaged over prompts, seeds and all chunks but the first.",
    )
    parser.add_argument("--prompt", action="append", help="repeatable; the toy world has defaults")
    _add_model(parser)
    parser.add_argument(
        "--embedding",
        type=Path,
        action="append",
        metavar="FILE",
        help="repeatable, for --model PATH: text-encoder output",
    )
    parser.add_argument("--seeds", type=values.count, default=1, metavar="N", help="seeds per prompt (default: 1)")
    parser.add_argument("--latents", type=values.count, metavar="N", help="length in latent frames, whole chunks")
    _add_size_and_steps(parser)
    parser.add_argument(
        "--dummy-ratio", type=values.share, default=0.5, metavar="SHARE", help="of dummy heads (default: 0.5)"
    )
    parser.add_argument("--cost", choices=("normalised", "paper"), default="normalised", help=wording.COST)
    parser.add_argument("--force-roles", default="", metavar="HEADS", help=wording.FORCE_ROLES)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("heads.safetensors"),
        metavar="FILE",
        help="the profile (default: heads.safetensors)",
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the roles to a .png file")
    _add_json(parser)


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "demo",
        "compare dense memory and Dummy Forcing on the built-in toy world",
        "Writes both videos, the two side by side, the head roles and a report. Needs no download.",
    )
    parser.add_argument("--prompt", help="what to show (default: two moving shapes)")
    parser.add_argument("--seed", type=values.seed, default=0, help=wording.SEED)
    parser.add_argument("--latents", type=values.count, default=21, metavar="N", help="latent frames (default: 21)")
    parser.add_argument(
        "--output", type=Path, default=Path("out/demo"), metavar="FOLDER", help="(default: out/demo)"
    )
    _add_device(parser)
    _add_json(parser)


def _add_convert(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "convert",
        "write a checkpoint as one that ComfyUI itself loads as causal",
        "Any published layout: .pt, safetensors, shards, diffusers, wrapped LoRAs. The new file has Wan's own "
        "names and says in its metadata that it is causal and of which family.",
    )
    _add_input(parser)
    parser.add_argument("output", type=Path, metavar="OUT", help="a new .safetensors file")
    parser.add_argument("--lora", type=Path, metavar="FILE", help=wording.LORA)
    parser.add_argument(
        "--dtype",
        choices=("keep", "float32", "bfloat16", "float16", "fp8"),
        default="keep",
        help="of the weights; fp8 is for the blocks' linear layers, which ComfyUI then runs in FP8 (default: keep)",
    )


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "inspect",
        "say what a checkpoint is and what it still needs",
        "Reads names and sizes only. Says which family and why, types, licence, what is missing, the expected KV "
        "cache.",
    )
    _add_input(parser)
    _add_json(parser)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands,
        "bench",
        "measure what memories cost, side by side",
        "Random weights in true shapes; policies take turns in one process, and medians are compared with dense "
        "memory and with what arithmetic allows. On a CPU only the ratios mean something.",
    )
    parser.add_argument("policies", nargs="*", metavar="POLICY", help=wording.BENCH_POLICY)
    model = parser.add_argument_group("model")
    shapes = ("toy", "wan-1.3b", "wan-14b", "custom")
    model.add_argument("--shape", choices=shapes, default="toy", help="(default: toy)")
    model.add_argument("--layers", type=values.count, metavar="N", help="fewer layers, true widths")
    for name, what in (("dim", "width"), ("heads", "attention heads"), ("ffn", "width of the feed-forward part")):
        model.add_argument(f"--{name}", type=values.count, metavar="N", help=f"{what}, for --shape custom")
    size = model.add_mutually_exclusive_group()
    size.add_argument("--resolution", choices=("480p", "720p", "1080p"), help="(default: the shape's own)")
    size.add_argument("--latent-size", type=values.latent_size, metavar="HxW", help="in latent pixels (8 x 8 each)")
    _add_device(model)
    _add_fp8(model)
    _add_compile(model)
    video = parser.add_argument_group("video")
    video.add_argument(
        "--lengths", type=values.count, nargs="+", default=[21], metavar="N", help=wording.BENCH_LENGTHS
    )
    video.add_argument("--clip", action="store_true", help="measure all chunks of a video as they are generated")
    video.add_argument(
        "--chunk-frames", type=values.count, default=3, metavar="N", help="latent frames a chunk (default: 3)"
    )
    video.add_argument("--steps", type=values.count, default=4, metavar="N", help=wording.BENCH_STEPS)
    decode = video.add_mutually_exclusive_group()
    decode.add_argument("--decoder", choices=("wan", "lightvae", "tae"), help=wording.BENCH_DECODER)
    decode.add_argument("--no-decode", dest="decode", action="store_false", help="leave the decoder out")
    video.add_argument("--seed", type=values.seed, default=0, help=wording.BENCH_SEED)
    add_method_options(parser.add_argument_group("pass skipping"), "passes")
    samples = parser.add_argument_group("samples")
    samples.add_argument("--repeats", type=values.count, default=5, metavar="N", help="(default: 5)")
    samples.add_argument("--warm-up", type=values.count_or_none, default=1, metavar="N", help="(default: 1)")
    others = parser.add_argument_group("other programs, with --clip")
    others.add_argument("--host", type=Path, metavar="FOLDER", help="also measure ComfyUI's own AR sampler")
    others.add_argument("--host-python", type=Path, metavar="FILE", help="Python for it (default: its venv's)")
    others.add_argument(
        "--peer", type=Path, metavar="FOLDER", help="also measure a checkout of csguoh/DummyForcing"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw time and memory over length to a .png file")
    _add_json(parser)


def _add_input(parser: ArgumentParser) -> None:
    parser.add_argument(
        "input", type=Path, metavar="FILE", help="a checkpoint, one of its shards, or a folder with it"
    )
    parser.add_argument(
        "--family",
        choices=(AUTO, *FAMILIES),
        default=AUTO,
        metavar="NAME",
        help="(default: auto, detected)",
    )


def _add_model(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model", default=TOY, metavar="toy|PATH", help="the toy world or a Wan checkpoint (default: toy)"
    )
    parser.add_argument("--family", choices=(AUTO, *FAMILIES), metavar="NAME", help=wording.FAMILY)
    parser.add_argument("--lora", type=Path, metavar="FILE", help=wording.LORA)
    parser.add_argument(
        "--vae", type=Path, metavar="FILE", help="Wan 2.1 VAE, for --model PATH (default: the one in the folder)"
    )
    _add_device(parser)
    _add_fp8(parser)


def _add_size_and_steps(parser: ArgumentParser) -> None:
    parser.add_argument("--size", type=values.size, metavar="HxW", help="in pixels (default: the family's)")
    parser.add_argument(
        "--steps", type=values.count, metavar="N", help="denoising passes a chunk (default: the family's)"
    )


def _add_device(parser: ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="(default: auto, which is bfloat16 for checkpoints on a GPU, else float32)",
    )


def _add_compile(parser: ArgumentParser) -> None:
    parser.add_argument("--compile", action="store_true", help=wording.COMPILE)


def _add_fp8(parser: ArgumentParser) -> None:
    parser.add_argument("--fp8", action="store_true", help=wording.FP8)


def _add_methods(parser: ArgumentParser) -> None:
    """The options of all methods, as the methods declare them."""
    group = parser.add_argument_group("memory")
    add_method_options(group, "keep", POLICY)
    group.add_argument("--rope", choices=(AUTO_ROPE, "absolute", "relative"), default=AUTO_ROPE, help=wording.ROPE)
    group.add_argument("--profile", type=Path, metavar="FILE", help="use the head roles of a saved profile")
    group.add_argument("--save-profile", type=Path, metavar="FILE", help="save the online head roles as a profile")
    add_method_options(group, "merge", MERGE)
    group = parser.add_argument_group("keys that are read")
    add_method_options(group, "select", SELECT)
    add_method_options(group, "cross", CROSS)
    add_method_options(parser.add_argument_group("pass skipping"), "passes")


def _add_story(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("prompts that change")
    group.add_argument("--prompts", type=Path, metavar="FILE", help=wording.PROMPTS)
    group.add_argument("--switch", choices=SWITCHES, default=SUPPRESS, help="(default: the family's)")
    group.add_argument("--recache-frames", type=values.count, default=SUPPRESS, metavar="N", help=wording.RECACHE)
    group.add_argument(
        "--interpolate-chunks", type=values.count, default=SUPPRESS, metavar="N", help=wording.INTERPOLATE
    )


def _add_given(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("given pictures and videos", wording.GIVEN)
    files = group.add_mutually_exclusive_group()
    files.add_argument("--image", type=Path, metavar="FILE", help="begin with this picture, of the video's size")
    files.add_argument("--extend", type=Path, metavar="VIDEO", help="begin with this video, of the same size")
    files.add_argument("--source", type=Path, metavar="VIDEO", help="change this video, of the same size")
    group.add_argument("--keep-frames", action="store_true", help=wording.KEEP_FRAMES)
    group.add_argument("--strength", type=values.strength, metavar="SHARE", help=wording.STRENGTH)
    group = parser.add_argument_group("clean pass")
    group.add_argument("--context-noise", type=values.level, default=0.0, metavar="X", help=wording.CONTEXT_NOISE)
    group.add_argument("--refine", action="store_true", help=wording.REFINE)


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE|-", help="write a report; '-' prints it alone on stdout")
