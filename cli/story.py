"""Prompts that follow the first one: `--prompts FILE` and what a change does."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DummyForcingError
from ..core.files import read_text
from ..core.stream.prompt_times import PromptPlan, parse_time
from ..core.stream.prompts import PromptSwitch
from .models import embed

_OPTIONS = ("switch", "recache_frames", "interpolate_chunks")
_EXAMPLE = "a line is a time, a colon and a prompt, such as 'chunk 4: a blue square moving left' or '3.5s: ...'"


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
    texts = tuple(
        embed(prompt, args.prompts.parent / prompt if args.embedding is not None else None) for _, prompt in entries
    )
    fields = {"recache_frames": "recache_frames", "interpolate_chunks": "chunks"}
    options = {field: getattr(args, name) for name, field in fields.items() if name in args}
    method = getattr(args, "switch", None)
    plan = PromptPlan(tuple(parse_time(time) for time, _ in entries), texts, method, **options)
    return Story(tuple(prompt for _, prompt in entries), plan)


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Times and prompts of a file, as written."""
    text = read_text(path)
    if path.suffix.lower() == ".json":
        yield from _json_entries(path, text)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        time, colon, prompt = line.partition(":")
        if not colon or not prompt.strip():
            raise DummyForcingError(f"line {number} of {path} is {line.strip()!r}; {_EXAMPLE}")
        yield time, prompt.strip()


def _json_entries(path: Path, text: str) -> Iterator[tuple[str, str]]:
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise DummyForcingError(f"{path} is no JSON: {error}; correct it or write lines in a .txt file") from error
    shape = 'expected a list of {"at": "chunk 4", "prompt": "..."}'
    if not isinstance(listed, list):
        raise DummyForcingError(f"{path} holds no list; {shape}")
    for entry in listed:
        if not isinstance(entry, dict) or set(entry) != {"at", "prompt"}:
            raise DummyForcingError(f"{path} has the entry {json.dumps(entry)}; {shape}")
        if not all(isinstance(value, str) for value in entry.values()):
            raise DummyForcingError(f"{path} has the entry {json.dumps(entry)}; both values are texts")
        yield entry["at"], entry["prompt"]
