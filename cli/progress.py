"""One line of progress per video: a live bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..core.stream.tally import Standing

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_PLAIN_SECONDS = 10.0  # between plain lines


Show = Callable[[Standing], None]


@contextlib.contextmanager
def progress_line(console: Console | None, title: str, chunks: int, passes: int) -> Iterator[Show]:
    """A function to call with every `Standing` of a video of `chunks` chunks x `passes` passes.

    Without a console nothing is shown.
    """
    if console is None:
        yield lambda standing: None
    elif console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(title, total=chunks * passes, chunk="", speed="", kv="")
            yield lambda now: bar.update(
                task,
                completed=now.passes_done,
                chunk=f"chunk {now.chunks_done}/{now.chunks}",
                speed=now.speed,
                kv=now.kv,
            )
    else:
        yield _PlainLines(console, title)


class _PlainLines:
    """A line after the first and the last chunk and every few seconds in between."""

    def __init__(self, console: Console, title: str):
        self._console = console
        self._title = title
        self._shown = 0
        self._due = 0.0

    def __call__(self, now: Standing) -> None:
        last = now.chunks_done == now.chunks
        if now.chunks_done == self._shown or (time.monotonic() < self._due and not last):
            return
        self._shown = now.chunks_done
        self._due = time.monotonic() + _PLAIN_SECONDS
        self._console.print(
            f"{self._title}: chunk {now.chunks_done}/{now.chunks}, {now.speed}, {now.kv}", soft_wrap=True
        )


def _bar(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    fields = ("{task.fields[chunk]}", "{task.fields[speed]}", "{task.fields[kv]}")
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(TextColumn(field, markup=False) for field in fields),
        TimeElapsedColumn(),
        console=console,
    )
