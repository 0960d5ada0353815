"""Runs a benchmark: subjects, warm-up, turns, rows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from ..wan.fp8_linear import use_fp8_linears
from .resources import check_room, peak_memory
from .rows import Measured, Row, make_rows
from .setting import BenchSetting
from .shapes import backbone_outline, decoder_outline, with_random_weights
from .subjects import BenchModel, ChunkSubject, ClipSubject, DecodeSubject
from .timing import Subject, interleave

Told = Callable[[str], Any]
"""Called with a line of text that says what happens next."""

OtherPrograms = Callable[[BenchSetting, nn.Module], Sequence[Subject]]
"""Makes the subjects that stand for other programs, which run on the same weights."""


@dataclass(frozen=True)
class BenchResult:
    """Rows by length, then policy; seconds that decoding a chunk takes, None if it was not measured."""

    rows: tuple[Row, ...]
    decode_seconds: float | None


def run_bench(
    setting: BenchSetting,
    told: Told = lambda text: None,
    others: OtherPrograms = lambda setting, backbone: (),
    workers: int = 0,
) -> BenchResult:
    """Measure all policies at all lengths, side by side in this process.

    Args:
        others: makes subjects of other programs to measure as well; they come after the policies.
        workers: how many those are.

    Raises:
        DummyForcingError: the machine has no room for the benchmark.
    """
    check_room(setting.needed_bytes(workers), setting.device)
    told("making random weights")
    backbone = _with_weights(backbone_outline(setting.shape.wan), setting)
    if setting.fp8:
        use_fp8_linears(backbone)
    model = BenchModel.of(backbone, setting)
    programs = list(others(setting, backbone))
    rows: list[Row] = []
    decode_seconds = _decode_seconds(setting, told) if setting.decode else None
    for length in setting.lengths:
        measured = _measure(setting, model, length, programs, told)
        rows += make_rows(setting, length, measured, decode_seconds)
    return BenchResult(tuple(rows), decode_seconds)


def _measure(
    setting: BenchSetting, model: BenchModel, length: int, programs: Sequence[Subject], told: Told
) -> list[Measured]:
    kind = ClipSubject if setting.clip else ChunkSubject
    subjects = [*(kind(model, setting, policy, length) for policy in setting.policies), *programs]
    memories = [policy.memory if setting.clip else setting.given(policy.memory) for policy in setting.policies]
    peaks = [_warm_up(subject, setting, length, told) for subject in subjects]
    peaks[len(memories) :] = [None] * len(programs)  # other programs take no memory in this process
    entries = interleave(subjects, setting.repeats, _teller(told, setting.repeats, length))
    return [Measured(*each) for each in zip(entries, [*memories, *[None] * len(programs)], peaks, strict=True)]


def _warm_up(subject: Subject, setting: BenchSetting, length: int, told: Told) -> int | None:
    """Take samples that do not count, of this subject alone; returns its peak memory."""
    peak = None
    for index in range(setting.warm_up):
        told(f"{length} latent frames: warm-up {index + 1}/{setting.warm_up}, {subject.name}")
        gc.collect()
        with peak_memory(setting.device) as found:
            _drain(subject.sample())
        peak = found.bytes if peak is None else max(peak, found.bytes)
    return peak


def _decode_seconds(setting: BenchSetting, told: Told) -> float:
    """The median over the repeats; the decoder is the same for all policies."""
    subject = DecodeSubject(_with_weights(decoder_outline(setting.shape.vae), setting), setting)
    for _ in range(setting.warm_up):
        told("warm-up, decode")
        _drain(subject.sample())
    (entry,) = interleave([subject], setting.repeats, _teller(told, setting.repeats, None))
    return median(entry.samples)


def _drain(turns: Iterator[None]) -> None:
    for _ in turns:
        pass


def _teller(told: Told, repeats: int, length: int | None) -> Callable[[int, str], None]:
    place = "" if length is None else f"{length} latent frames: "
    return lambda repeat, name: told(f"{place}repeat {repeat + 1}/{repeats}, {name}")


def _with_weights(outline: nn.Module, setting: BenchSetting) -> nn.Module:
    with torch.no_grad():
        return with_random_weights(outline, setting.seed, setting.device, setting.dtype)
