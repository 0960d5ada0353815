"""From samples to figures: medians, rates and ratios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from ..clock import ChunkClock
from ..memory_config import MemoryConfig
from ..video import pixel_frames
from ..wan.cost import PassCost, edge_cost, pass_cost
from ..wan.shape import TEXT_TOKENS
from .costs import key_frames, with_classification
from .setting import BenchSetting
from .subjects import ChunkTime, VideoSample
from .timing import Entry


@dataclass(frozen=True)
class ChunkFigures:
    """One chunk of one policy: times are medians over the samples, bytes the most of any, operations counted."""

    chunk: int
    latent_frames: int
    seconds: float
    attention_seconds: float | None
    kv_bytes: int | None
    process_bytes: int | None
    key_frames: float | None
    flop: float | None
    attention_flop: float | None


@dataclass(frozen=True)
class Row:
    """What was measured of one policy at one length. Ratios are dense over policy: above 1 is faster.

    seconds_per_chunk: mean over the chunks measured, each the median of its samples; `attention_seconds` and
    `other_seconds` are its parts, None for clips. dit_fps: video frames a second without the decoder. key_frames:
    latent frames that a head reads in the last chunk, mean over heads and passes. ideal_*: what the ratio would be
    if time were proportional to arithmetic. classification_seconds: time to score heads and assign roles, once per
    prompt. peak_bytes: as in `PeakMemory`, from the warm-up, in which the policy ran alone.
    """

    policy: str
    latent_frames: int
    seconds_per_chunk: float
    attention_seconds: float | None
    other_seconds: float | None
    dit_fps: float
    decode_fps: float | None
    end_to_end_fps: float | None
    kv_bytes: int | None
    peak_bytes: int | None
    key_frames: float | None
    tflop_per_chunk: float | None
    tflops_per_second: float | None
    ratio_to_dense: float | None
    ideal_ratio: float | None
    attention_ratio: float | None
    ideal_attention_ratio: float | None
    classification_seconds: float | None
    samples: tuple[tuple[float, ...], ...]
    chunks: tuple[ChunkFigures, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; `samples` are seconds of every chunk, sample by sample."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """A subject's samples and its memory configuration, None for another program; peak_bytes as in `PeakMemory`."""

    entry: Entry[VideoSample]
    memory: MemoryConfig | None
    peak_bytes: int | None


def make_rows(
    setting: BenchSetting, length: int, measured: Sequence[Measured], decode_seconds: float | None
) -> list[Row]:
    """One row for each subject; ratios compare it with the dense policy, if that is among them."""
    figures = [_figures(setting, length, each) for each in measured]
    dense = next((found for each, found in zip(measured, figures, strict=True) if _is_dense(each)), None)
    return [
        _row(setting, length, each, found, dense, decode_seconds)
        for each, found in zip(measured, figures, strict=True)
    ]


def _is_dense(measured: Measured) -> bool:
    return measured.memory == MemoryConfig()


def _figures(setting: BenchSetting, length: int, measured: Measured) -> list[ChunkFigures]:
    """The figures of a subject's chunks, over its samples."""
    return [_chunk_figures(setting, length, measured, taken) for taken in _by_chunk(measured.entry.samples)]


def _by_chunk(samples: Sequence[VideoSample]):
    return zip(*(sample.chunks for sample in samples), strict=True)


def _chunk_figures(setting: BenchSetting, length: int, measured: Measured, taken) -> ChunkFigures:
    passes = list(zip(*(each.passes for each in taken), strict=True))
    attention = None
    if all(each.attention_seconds is not None for group in passes for each in group):
        attention = sum(median(each.attention_seconds for each in group) for group in passes)
    first, flops = taken[0], None
    if measured.memory is not None:
        memory = with_classification(measured.memory, measured.entry.samples[0].roles, setting.video_shape(length))
        flops = _chunk_cost(setting, length, memory, first)
    return ChunkFigures(
        chunk=first.chunk,
        latent_frames=(first.chunk + 1) * setting.chunk_frames,
        seconds=sum(median(each.seconds for each in group) for group in passes),
        attention_seconds=attention,
        kv_bytes=_most(each.kv_bytes for each in taken),
        process_bytes=_most(each.process_bytes for each in taken),
        key_frames=None if flops is None else flops[0],
        flop=None if flops is None else flops[1].total,
        attention_flop=None if flops is None else flops[1].self_attention,
    )


def _chunk_cost(
    setting: BenchSetting, length: int, memory: MemoryConfig, taken: ChunkTime
) -> tuple[float, PassCost] | None:
    """Key frames of a pass, mean over the passes computed, and the operations of all passes of a chunk.

    None if what is read depends on the keys. The first pass is never skipped and all further denoising passes cost
    the same, so it does not matter which of them were skipped.
    """
    shape, tokens, skipped = setting.shape.wan, setting.tokens, taken.passes_skipped
    video = setting.video_shape(length)
    clocks = list(_clocks(setting, taken.chunk))
    frames = [key_frames(memory, video, clock) for clock in (*clocks[: setting.steps - skipped], clocks[-1])]
    if None in frames:
        return None
    costs = [pass_cost(shape, tokens, TEXT_TOKENS, each * setting.tokens_per_frame) for each in frames]
    whole = PassCost(
        linears=sum(cost.linears for cost in costs) + skipped * edge_cost(shape, tokens),
        cross_attention=sum(cost.cross_attention for cost in costs),
        self_attention=sum(cost.self_attention for cost in costs),
    )
    return fmean(frames), whole


def _clocks(setting: BenchSetting, chunk: int) -> Iterator[ChunkClock]:
    """The clocks of a chunk's passes, the clean one last."""
    start = chunk * setting.chunk_frames
    for index in range(setting.steps + 1):
        clean = index == setting.steps
        yield ChunkClock(chunk, start, setting.chunk_frames, setting.tokens_per_frame, index, 0.0, clean)


def _row(
    setting: BenchSetting,
    length: int,
    measured: Measured,
    found: list[ChunkFigures],
    dense: list[ChunkFigures] | None,
    decode_seconds: float | None,
) -> Row:
    samples = measured.entry.samples
    chunks = length // setting.chunk_frames if setting.clip else 1
    seconds = _sum(found, "seconds") / chunks
    frames = pixel_frames(length) / chunks if setting.clip else setting.chunk_pixel_frames
    attention, flop = _mean(found, "attention_seconds", chunks), _mean(found, "flop", chunks)
    classified = [each.classification_seconds for each in samples if each.classification_seconds is not None]
    return Row(
        policy=measured.entry.name,
        latent_frames=length,
        seconds_per_chunk=seconds,
        attention_seconds=attention,
        other_seconds=None if attention is None else seconds - attention,
        dit_fps=frames / seconds,
        decode_fps=None if decode_seconds is None else setting.chunk_pixel_frames / decode_seconds,
        end_to_end_fps=None if decode_seconds is None else frames / (seconds + decode_seconds),
        kv_bytes=found[-1].kv_bytes,
        peak_bytes=measured.peak_bytes,
        key_frames=found[-1].key_frames,
        tflop_per_chunk=None if flop is None else flop / 1e12,
        tflops_per_second=None if flop is None else flop / 1e12 / seconds,
        ratio_to_dense=_ratio(dense, found, "seconds"),
        ideal_ratio=_ratio(dense, found, "flop"),
        attention_ratio=_ratio(dense, found, "attention_seconds"),
        ideal_attention_ratio=_ratio(dense, found, "attention_flop"),
        classification_seconds=median(classified) if classified else None,
        samples=tuple(
            tuple(sum(each.seconds for each in chunk.passes) for chunk in sample.chunks) for sample in samples
        ),
        chunks=tuple(found),
    )


def _sum(found: Sequence[ChunkFigures], name: str) -> float | None:
    values = [getattr(each, name) for each in found]
    return None if None in values else sum(values)


def _mean(found: Sequence[ChunkFigures], name: str, chunks: int) -> float | None:
    total = _sum(found, name)
    return None if total is None else total / chunks


def _ratio(dense: Sequence[ChunkFigures] | None, found: Sequence[ChunkFigures], name: str) -> float | None:
    over = None if dense is None else _sum(dense, name)
    under = _sum(found, name)
    return over / under if over is not None and under else None


def _most(values) -> int | None:
    known = [value for value in values if value is not None]
    return max(known, default=None)
