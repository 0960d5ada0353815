"""Whether a video fits into memory, and what would fit: checked before anything is allocated.

The estimate is a lower bound, so that no video is refused that would have run: the keys and values, which are known
exactly, and the larger of one chunk in the model and the same chunk in the decoder. Weights are not counted: they
are loaded already, or a host may move them away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..decoders.streaming import StreamingDecoder
from ..errors import DummyForcingError
from ..kv_forecast import forecast_kv
from ..memory_config import MemoryConfig
from ..methods.dummy_forcing import DummyForcing
from ..methods.window import Window
from ..video import PIXELS_PER_TOKEN, VideoShape
from .tally import format_bytes

# Tensors of a block that are alive at once: at least so many as wide as the tokens and as the feed-forward part.
# The toy world on a CPU takes 1.04 times that at 512 x 512 and more at smaller sizes (its peak less the KV cache).
_BLOCK_COPIES, _HIDDEN_COPIES = 8, 4
_SPARE = 0.9  # of the free memory is what advice counts on: other programs may take some meanwhile


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
    """Everything about a video that its memory depends on.

    The model is `dim` wide, `ffn_dim` in the feed-forward part; decoder None decodes nothing; recache_frames as in
    `forecast_kv`.
    """

    dim: int
    ffn_dim: int
    memory: MemoryConfig
    video: VideoShape
    decoder: StreamingDecoder | None = None
    recache_frames: int = 0

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the frames."""
        rows, columns = self.video.grid
        return rows * PIXELS_PER_TOKEN, columns * PIXELS_PER_TOKEN

    def with_grid(self, rows: int, columns: int) -> Demand:
        """The same video in another size, in tokens of 16 pixels."""
        return replace(self, video=replace(self.video, grid=(rows, columns)))

    def need(self) -> Need:
        """What it takes at least."""
        video = self.video
        channels = _BLOCK_COPIES * self.dim + _HIDDEN_COPIES * self.ffn_dim
        decoding = 0 if self.decoder is None else self.decoder.bytes_for(video.chunk_frames, *self.pixels)
        return Need(
            kv=forecast_kv(self.memory, video, self.recache_frames).peak_bytes,
            model=video.batch * video.pass_frames * video.tokens_per_frame * channels * video.dtype.itemsize,
            decoding=video.batch * decoding,
        )


@dataclass(frozen=True)
class Words:
    """How people type the size of a video, height and width in pixels, and its length in latent frames."""

    size: Callable[[int, int], str]
    length: Callable[[int], str]


def check_room(demand: Demand, room: int | None, where: str, words: Words) -> None:
    """Raise DummyForcingError for a video that cannot fit, with figures and with what would.

    Args:
        room: bytes available; None if that is not known.
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
        yield f"at most {words.length(shorter.video.total_frames)}"
    for name, other in _smaller_memories(demand):
        need = other.need()
        if need.total <= room:
            yield f"{name}, which keeps {format_bytes(need.kv)}"


def largest_that_fits(demand: Demand, room: int) -> Demand | None:
    """The same video in the largest fitting size of about its proportions; None if even 16 pixels are too many."""
    rows, columns = demand.video.grid
    longest = max(rows, columns)

    def scaled(side: int) -> Demand:
        return demand.with_grid(max(1, rows * side // longest), max(1, columns * side // longest))

    return _last_that_fits(scaled, longest, room)


def longest_that_fits(demand: Demand, room: int) -> Demand | None:
    """The same video with as many chunks as fit; None if not even one fits, or if length is not the cause."""
    video = demand.video
    if not demand.memory.keep.keeps_all or video.total_frames is None:
        return None
    first = video.first_frames or video.chunk_frames

    def cut(chunks: int) -> Demand:
        return replace(demand, video=replace(video, total_frames=first + (chunks - 1) * video.chunk_frames))

    return _last_that_fits(cut, 1 + (video.total_frames - first) // video.chunk_frames, room)


def _last_that_fits(make: Callable[[int], Demand], too_large: int, room: int) -> Demand | None:
    """The last demand below `too_large` that fits, where demands grow with their number."""
    fits = 0
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if make(middle).need().total <= room:
            fits = middle
        else:
            too_large = middle
    return make(fits) if fits else None


def _smaller_memories(demand: Demand) -> Iterator[tuple[str, Demand]]:
    """Memories that would keep less, if this video's keeps everything."""
    if not demand.memory.keep.keeps_all:
        return
    chunk = demand.video.chunk_frames
    for name, keep in (("Dummy Forcing", DummyForcing()), ("a window", Window(chunk, 4 * chunk))):
        yield name, replace(demand, memory=MemoryConfig(keep=keep))
