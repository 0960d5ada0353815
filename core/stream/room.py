"""Whether a video fits into memory, asked before anything is allocated, and what would fit.

What is counted is less than what a run takes: the keys and values, which are forecast exactly, and the larger of
one chunk in the model and the same chunk in the decoder. So nothing is refused that would have run. Weights are not
counted: they are loaded already, or a host may move them away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import nn

from ..errors import DummyForcingError
from ..memory.config import MemoryConfig, VideoLayout
from ..memory.dummy_forcing import DummyForcing
from ..memory.forecast import forecast_kv
from ..memory.window import Window
from ..wan.shape import PATCH
from ..wan.vae_stream import PIXELS_PER_LATENT
from .decode import StreamingDecoder
from .tally import format_bytes

PIXELS_PER_TOKEN = PATCH * PIXELS_PER_LATENT
# Tensors of a block that are alive at once: at least so many as wide as the tokens and as the feed-forward part.
# The toy world on a CPU takes 1.04 times that at 512 x 512 and more at smaller sizes (its peak less the KV cache).
_BLOCK_COPIES, _HIDDEN_COPIES = 8, 4
_SPARE = 0.9  # of what is free, for what is advised: other programs may take some until it is typed


@dataclass(frozen=True)
class Need:
    """Bytes that a video takes at least: keys and values, one chunk in the model, and in the decoder."""

    kv: int
    model: int
    decoding: int

    @property
    def total(self) -> int:
        """At one time: a chunk is in the model or in the decoder."""
        return self.kv + max(self.model, self.decoding)


@dataclass(frozen=True, eq=False)
class Demand:
    """All of a video that memory depends on.

    backbone has Wan's names and is `dim` wide, `ffn_dim` in the feed-forward part; layout has a grid; decoder None
    decodes nothing; recache_frames as in `forecast_kv`.
    """

    backbone: nn.Module
    dim: int
    ffn_dim: int
    memory: MemoryConfig
    layout: VideoLayout
    decoder: StreamingDecoder | None = None
    recache_frames: int = 0

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the frames."""
        rows, columns = self.layout.grid
        return rows * PIXELS_PER_TOKEN, columns * PIXELS_PER_TOKEN

    def with_grid(self, rows: int, columns: int) -> Demand:
        """The same video in another size, in tokens of 16 pixels."""
        return replace(self, layout=replace(self.layout, grid=(rows, columns), tokens_per_frame=rows * columns))

    def need(self) -> Need:
        """What it takes at least."""
        layout = self.layout
        frames = max(layout.chunk_frames, layout.pass_frames or 0)
        channels = _BLOCK_COPIES * self.dim + _HIDDEN_COPIES * self.ffn_dim
        decoding = 0 if self.decoder is None else self.decoder.bytes_for(layout.chunk_frames, *self.pixels)
        return Need(
            kv=forecast_kv(self.memory, self.backbone, layout, self.recache_frames).peak_bytes,
            model=layout.batch * frames * layout.tokens_per_frame * channels * layout.dtype.itemsize,
            decoding=layout.batch * decoding,
        )


@dataclass(frozen=True)
class Words:
    """How people type the size of a video, height and width in pixels, and its length in latent frames."""

    size: Callable[[int, int], str]
    length: Callable[[int], str]


def check_room(demand: Demand, room: int | None, where: str, words: Words) -> None:
    """Raise DummyForcingError for a video that cannot fit, with figures and with what would.

    Args:
        room: bytes that can be had; None where that is not known.
        where: what has them, such as `the computer`.
    """
    if room is None:
        return
    need = demand.need()
    if need.total <= room:
        return
    parts = [f"keys and values {format_bytes(need.kv)}", f"a chunk in the model {format_bytes(need.model)}"]
    if need.decoding:
        parts.append(f"decoding it {format_bytes(need.decoding)}")
    advice = " or ".join(_advice(demand, int(_SPARE * room), words)) or "a computer with more memory"
    raise DummyForcingError(
        f"this video needs {format_bytes(need.total)} of memory beside the weights, and {where} has "
        f"{format_bytes(room)}; use {advice} ({', '.join(parts)})"
    )


def _advice(demand: Demand, room: int, words: Words) -> Iterator[str]:
    smaller, shorter = largest_that_fits(demand, room), longest_that_fits(demand, room)
    if smaller is not None:
        yield f"at most {words.size(*smaller.pixels)}"
    if shorter is not None:
        yield f"at most {words.length(shorter.layout.total_frames)}"
    for name, other in _smaller_memories(demand):
        need = other.need()
        if need.total <= room:
            yield f"{name}, which keeps {format_bytes(need.kv)}"


def largest_that_fits(demand: Demand, room: int) -> Demand | None:
    """The same video in the largest size of about its proportions that fits; None if 16 pixels are too many."""
    rows, columns = demand.layout.grid
    longest = max(rows, columns)

    def scaled(side: int) -> Demand:
        return demand.with_grid(max(1, rows * side // longest), max(1, columns * side // longest))

    return _last_that_fits(scaled, longest, room)


def longest_that_fits(demand: Demand, room: int) -> Demand | None:
    """The same video with as many chunks as fit; None where that is not one, or the length is not the reason."""
    layout = demand.layout
    if not demand.memory.keep.keeps_all or layout.total_frames is None:
        return None
    first = layout.first_frames or layout.chunk_frames

    def cut(chunks: int) -> Demand:
        return replace(demand, layout=replace(layout, total_frames=first + (chunks - 1) * layout.chunk_frames))

    return _last_that_fits(cut, 1 + (layout.total_frames - first) // layout.chunk_frames, room)


def _last_that_fits(make: Callable[[int], Demand], too_large: int, room: int) -> Demand | None:
    """Of demands that grow from 1 to `too_large`, the last before it that fits."""
    fits = 0
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if make(middle).need().total <= room:
            fits = middle
        else:
            too_large = middle
    return make(fits) if fits else None


def _smaller_memories(demand: Demand) -> Iterator[tuple[str, Demand]]:
    """What keeps less than everything, where everything is kept."""
    if not demand.memory.keep.keeps_all:
        return
    chunk = demand.layout.chunk_frames
    for name, keep in (("Dummy Forcing", DummyForcing()), ("a window", Window(chunk, 4 * chunk))):
        yield name, replace(demand, memory=MemoryConfig(keep=keep))
