"""Clocks and turns: an order of measuring by which whatever else the machine does affects all subjects alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from ..wan.forward import AttentionMemory

Result = TypeVar("Result")


class Subject(Protocol):
    """Something to measure. A sample is taken in turns: the generator yields after each and returns the result."""

    name: str

    def sample(self) -> Iterator[None]:
        """Untimed preparation, then the work in turns; returns the sample."""
        ...


@dataclass(frozen=True)
class Entry(Generic[Result]):
    """A subject's samples, in the order in which they were taken."""

    name: str
    samples: tuple[Result, ...]


def interleave(
    subjects: Sequence[Subject], repeats: int, told: Callable[[int, str], Any] = lambda repeat, name: None
) -> list[Entry]:
    """Take `repeats` samples of every subject, turn about: A B C A B C ... until all are done, then again.

    told: is called before every turn with the number of the repeat and the subject's name.
    """
    samples: list[list[Any]] = [[] for _ in subjects]
    for repeat in range(repeats):
        with contextlib.ExitStack() as stack:
            waiting = []
            for index, subject in enumerate(subjects):
                turns = subject.sample()
                stack.callback(turns.close)
                waiting.append((index, turns))
            while waiting:
                waiting = [each for each in waiting if _turn(each, subjects, samples, repeat, told)]
    return [Entry(subject.name, tuple(taken)) for subject, taken in zip(subjects, samples, strict=True)]


def _turn(each, subjects, samples, repeat, told) -> bool:
    """One turn of one subject; returns whether there are more."""
    index, turns = each
    told(repeat, subjects[index].name)
    try:
        next(turns)
    except StopIteration as done:
        samples[index].append(done.value)
        return False
    return True


class Stopwatch:
    """Wall-clock seconds of a block, all work on the device included."""

    def __init__(self, device: torch.device):
        self._device = device
        self.seconds = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Time a block; `seconds` is the latest."""
        self._wait()
        started = time.perf_counter()
        yield
        self._wait()
        self.seconds = time.perf_counter() - started

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class TimedMemory:
    """A memory that notes how long `attend` takes: keys and values written, heads gathered, attention.

    On a CPU, queries and keys are normalised and rotated before the clock starts. On a GPU, one kernel does that
    together with the writing, so the time includes it, equally for all memories.

    On a GPU the times come from events, which cost the pass only their launch; `take` needs an idle device.
    """

    def __init__(self, memory: AttentionMemory, device: torch.device):
        self._memory = memory
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[Any, Any]] = []

    def attend(self, layer, q, k, v, clock, norm_rope, dense) -> Tensor:
        """As `AttentionMemory.attend`; timed."""
        if not self._cuda:
            (q, k), norm_rope = norm_rope(q, k), None
        begin = self._mark()
        out = self._memory.attend(layer, q, k, v, clock, norm_rope, dense)
        self._marks.append((begin, self._mark()))
        return out

    def attend_prompt(self, layer, q, k, v, clock, dense) -> Tensor:
        """As `AttentionMemory.attend_prompt`; not timed."""
        return self._memory.attend_prompt(layer, q, k, v, clock, dense)

    def take(self) -> float:
        """Seconds in `attend` since the last call."""
        marks, self._marks = self._marks, []
        if self._cuda:
            return sum(begin.elapsed_time(end) for begin, end in marks) / 1000
        return sum(end - begin for begin, end in marks)

    def _mark(self):
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
