"""Prompts that follow the first one: `--prompts FILE` and what a change does."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import DummyForcingError
from ..core.files import read_text
from ..core.stream.prompt_times import PromptPlan, PromptTime, parse_time
from ..core.stream.prompts import PromptSwitch
from .models import embed

_OPTIONS = ("switch", "recache_frames", "interpolate_chunks")
_CLOCK = re.compile(r"\s*(\d+(?::\d+)+(?:\.\d+)?)\s*:")
_EXAMPLE = (
    "write lines of a time, a colon and a prompt, such as 'chunk 4: a blue square moving left' or '3.5s: ...'"
)


@dataclass(frozen=True)
class _Entry:
    """A time and a prompt as written. where: their place in the file, for messages."""

    where: str
    time: str
    prompt: str


@dataclass(frozen=True, eq=False)
class Story:
    """Later prompts as typed, with their embeddings."""

    prompts: tuple[str, ...]
    plan: PromptPlan

    def to_dict(self, switch: PromptSwitch) -> dict[str, Any]:
        """For the report."""
        times = [str(time) for time in self.plan.times]
        later = [{"at": at, "prompt": prompt} for at, prompt in zip(times, self.prompts, strict=True)]
        return {"prompts": later, "switch": switch.method}


def read_story(args: argparse.Namespace) -> Story | None:
    """Read the file of prompts, if there is one; DummyForcingError for lines that cannot be read."""
    if args.prompts is None:
        for name in _OPTIONS:
            if name in args:
                raise DummyForcingError(f"--{name.replace('_', '-')} goes with --prompts FILE; leave it out")
        return None
    entries = list(_entries(args.prompts))
    if not entries:
        raise DummyForcingError(f"{args.prompts} holds no prompts; {_EXAMPLE}")
    times = tuple(_time(entry) for entry in entries)  # before the prompts, where a faulty time shows up too
    beside = args.prompts.parent if args.embedding is not None else None
    texts = tuple(_text(entry, beside) for entry in entries)
    fields = {"recache_frames": "recache_frames", "interpolate_chunks": "chunks"}
    options = {field: getattr(args, name) for name, field in fields.items() if name in args}
    method = getattr(args, "switch", None)
    return Story(tuple(entry.prompt for entry in entries), PromptPlan(times, texts, method, **options))


def _time(entry: _Entry) -> PromptTime:
    with _named(entry.where):
        found = parse_time(entry.time)
    second, colon, _ = entry.prompt.partition(":")
    if colon and _is_time(second):
        raise DummyForcingError(
            f"{entry.where} has two times, {entry.time.strip()!r} and {second.strip()!r}; give each prompt one time"
        )
    return found


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except DummyForcingError:
        return False
    return True


def _text(entry: _Entry, beside: Path | None) -> Tensor:
    with _named(entry.where):
        return embed(entry.prompt, None if beside is None else beside / entry.prompt)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Put where in the file the fault is before the message of an error."""
    try:
        yield
    except DummyForcingError as error:
        raise DummyForcingError(f"{where}: {error.message}") from error


def _entries(path: Path) -> Iterator[_Entry]:
    """Times and prompts of a file, as written."""
    text = read_text(path)
    if path.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{")):  # no time begins like that
        yield from _json_entries(path, text)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        clock = _CLOCK.match(line)  # no valid time, but taken as one so that the message shows all of it
        time, colon, prompt = (clock[1], ":", line[clock.end() :]) if clock else line.partition(":")
        where = f"line {number} of {path}"
        if not colon or not prompt.strip():
            raise DummyForcingError(f"{where} is {line.strip()!r}; {_EXAMPLE}")
        yield _Entry(where, time, prompt.strip())


def _json_entries(path: Path, text: str) -> Iterator[_Entry]:
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise DummyForcingError(
            f"{path} is not JSON: {error}; correct the JSON or write lines in a .txt file"
        ) from error
    shape = 'write a list of {"at": "chunk 4", "prompt": "..."}'
    if not isinstance(listed, list):
        raise DummyForcingError(f"{path} is not a list; {shape}")
    for number, entry in enumerate(listed, start=1):
        where = f"entry {number} of {path}"
        if not isinstance(entry, dict) or set(entry) != {"at", "prompt"}:
            raise DummyForcingError(f"{where} is {json.dumps(entry)}; {shape}")
        if not all(isinstance(value, str) for value in entry.values()):
            raise DummyForcingError(f"{where} is {json.dumps(entry)}; write both values as texts")
        yield _Entry(where, entry["at"], entry["prompt"])
