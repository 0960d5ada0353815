"""What a stream costs, so far and in total, added up from its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..heads.roles import describe_roles, heads_to_dict
from ..memory.select_report import SelectReport
from ..video import pixel_frames
from .config import StreamConfig
from .events import ChunkDone, Event, HeadsClassified, PassDone


@dataclass(frozen=True)
class Standing:
    """Progress of a video. `chunks` is None without end, `dit_fps` and `kv_bytes` until the first chunk is done."""

    chunks: int | None
    chunks_done: int
    passes_done: int
    dit_fps: float | None
    kv_bytes: int | None

    @property
    def speed(self) -> str:
        """DiT FPS in words."""
        return "- DiT FPS" if self.dit_fps is None else f"{self.dit_fps:.2f} DiT FPS"

    @property
    def kv(self) -> str:
        """KV memory in words."""
        return "KV -" if self.kv_bytes is None else f"KV {format_bytes(self.kv_bytes)}"


@dataclass(frozen=True, eq=False)
class RunReport:
    """What one video cost.

    Attributes:
        latent_frames, pixel_frames, chunks: how much was made.
        model_seconds: sum over chunks of the time in the model, clean pass and commit included.
        seconds: wall time from the start until the file was closed.
        kv_bytes: bytes of keys and values after the last chunk.
        kv_peak_bytes: the largest such number after any chunk.
        history_frames: latent frames of history that a head holds after the last chunk, mean over layers and heads.
        passes, passes_skipped: over all chunks, clean passes included; how many of them ran without the blocks.
        roles: int64 [layers, heads] if heads were given roles, and the fp32 masses [layers, heads, 3] behind them
            if these were measured.
        selected: what a select method that depends on the keys has read.
        measures: whether heads were to be measured.
    """

    latent_frames: int
    pixel_frames: int
    chunks: int
    model_seconds: float
    seconds: float
    kv_bytes: int
    kv_peak_bytes: int
    history_frames: float
    passes: int
    passes_skipped: int
    roles: Tensor | None = None
    masses: Tensor | None = None
    selected: SelectReport | None = None
    measures: bool = False

    @property
    def dit_fps(self) -> float:
        """Pixel frames per second of time in the model."""
        return self.pixel_frames / self.model_seconds

    @property
    def end_to_end_fps(self) -> float:
        """Pixel frames per second of wall time: noise, model, decoder and file."""
        return self.pixel_frames / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form, with both FPS and, if there are roles, their counts and table."""
        names = ("latent_frames", "pixel_frames", "chunks", "seconds", "model_seconds")
        names = (
            *names,
            "dit_fps",
            "end_to_end_fps",
            "kv_bytes",
            "kv_peak_bytes",
            "history_frames",
            "passes",
            "passes_skipped",
        )
        found = {name: getattr(self, name) for name in names} | {"heads": heads_to_dict(self.roles)}
        return found | {"selected": self.selected and self.selected.to_dict()}


@dataclass
class Tally:
    """Adds up the events of one video."""

    config: StreamConfig
    passes: int = 0
    passes_skipped: int = 0
    chunks: int = 0
    latent_frames: int = 0
    model_seconds: float = 0.0
    kv_bytes: int = 0
    kv_peak_bytes: int = 0
    history_frames: float = 0.0
    classified: HeadsClassified | None = None
    selected: SelectReport | None = None

    def add(self, event: Event) -> None:
        """Take the next event into account."""
        if isinstance(event, PassDone):
            self.passes += 1
            self.passes_skipped += event.skipped
        elif isinstance(event, HeadsClassified):
            self.classified = event
        elif isinstance(event, ChunkDone):
            self.chunks += 1
            self.latent_frames += event.latents.shape[2]
            self.model_seconds += event.seconds
            self.kv_bytes = event.kv_bytes
            self.kv_peak_bytes = max(self.kv_peak_bytes, event.kv_bytes)
            self.history_frames = event.history_frames
            self.selected = event.selected

    @property
    def standing(self) -> Standing:
        """The video's progress."""
        started = self.chunks > 0
        return Standing(
            chunks=self.config.total_chunks,
            chunks_done=self.chunks,
            passes_done=self.passes,
            dit_fps=pixel_frames(self.latent_frames) / self.model_seconds if started else None,
            kv_bytes=self.kv_bytes if started else None,
        )

    def report(self, seconds: float) -> RunReport:
        """What it cost, with the wall time that the caller measured."""
        return RunReport(
            latent_frames=self.latent_frames,
            pixel_frames=pixel_frames(self.latent_frames),
            chunks=self.chunks,
            model_seconds=self.model_seconds,
            seconds=seconds,
            kv_bytes=self.kv_bytes,
            kv_peak_bytes=self.kv_peak_bytes,
            history_frames=self.history_frames,
            passes=self.passes,
            passes_skipped=self.passes_skipped,
            roles=self.classified.roles if self.classified else None,
            masses=self.classified.masses if self.classified else None,
            selected=self.selected,
            measures=self.config.memory.keep.needs_measurement,
        )


def describe_heads(report: RunReport) -> str | None:
    """The roles that heads were given, or that they were given none although they were to be measured."""
    if report.roles is not None:
        return describe_roles(report.roles)
    if report.measures:
        return (
            "heads were not measured, so that all of them kept everything: the video ended before the "
            "classification chunk was done"
        )
    return None


def describe_run(report: RunReport) -> str:
    """A run's figures in one line."""
    skipped = f", {report.passes_skipped} of {report.passes} passes skipped" if report.passes_skipped else ""
    selected = f", {report.selected.describe()}" if report.selected else ""
    return (
        f"{report.pixel_frames} frames in {report.seconds:.1f} s: {report.dit_fps:.2f} DiT FPS, "
        f"{report.end_to_end_fps:.2f} FPS end to end, KV {format_bytes(report.kv_bytes)} "
        f"(peak {format_bytes(report.kv_peak_bytes)}){skipped}{selected}"
    )


def format_bytes(count: float) -> str:
    """Bytes for people: 1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
