"""The `dummy-forcing` command: parse, dispatch, and turn every foreseeable failure into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.errors import DummyForcingError
from .arguments import build_parser

if TYPE_CHECKING:
    import argparse

    from .models import Opener

BAD_INPUT, INTERRUPTED = 2, 130
_STANDALONE = {"torch", "numpy", "av", "PIL", "rich"}


def main(argv: Sequence[str] | None = None, opener: Opener | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Args:
        argv: arguments without the program's name, by default those of the process.
        opener: turns a `ModelChoice` into an `ARVideoModel`; by default `models.open_model`.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser().parse_args(argv)
        args.argv = argv
        _command(args, opener)
    except KeyboardInterrupt as interrupt:
        _say("interrupted" + "".join(f"; {note}" for note in interrupt.args))
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; without this, flushing stdout at exit would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        _say(f"error: {message}")
        return BAD_INPUT
    return 0


def _command(args: argparse.Namespace, opener: Opener | None) -> None:
    # Imported late: --help and typing errors need not wait for torch.
    from .models import open_model

    opener = opener or open_model
    if args.command == "generate":
        from .generate import generate

        generate(args, opener)
    elif args.command == "profile":
        from .profile import profile

        profile(args, opener)
    elif args.command == "convert":
        from .convert import convert

        convert(args)
    elif args.command == "inspect":
        from .inspect import inspect

        inspect(args)
    elif args.command == "bench":
        from .bench import bench

        bench(args)
    else:
        from .demo import demo

        demo(args, opener)


def _explain(error: Exception) -> str | None:
    """What to tell a user about an error that is not our bug, else None."""
    if isinstance(error, DummyForcingError):
        return str(error)
    if isinstance(error, ImportError) and error.name and error.name.split(".")[0] in _STANDALONE:
        return f"{error.name} cannot be imported; run: pip install 'dummy-forcing[standalone]'"
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error):
        return "out of memory; use a smaller --size, fewer --latents or --policy dummy-forcing"
    return None


def _say(message: str) -> None:
    print("dummy-forcing:", " ".join(message.split()), file=sys.stderr)
