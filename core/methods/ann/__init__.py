"""ANN attention: a query reads the keys that an approximate search finds for it (FAST-AR, arXiv 2602.01801).

AnnSA searches the history. Once per chunk the keys of a head's history are put into buckets; in every pass queries
that want the same buckets are placed side by side, and a block of them reads these buckets and the whole current
chunk. The search sees keys and queries as attention does, with RoPE applied. Attention stays dense for short
histories, in the first passes of a chunk and its clean pass, and in layers where the keys found hold too little of
the attention.

AnnCA searches the prompt: a frame reads the tokens that share a bucket with one of its queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ...errors import DummyForcingError
from ...video import VideoShape
from ..base import CrossMethod, SelectMethod, parse_value
from ..declaration import option

if TYPE_CHECKING:
    from ...memory_config import MemoryConfig
    from .history import AnnSARun
    from .prompt import AnnCARun
    from .search import Search

Searching = Literal["quant", "lsh"]
_MOST_BITS = 10


@dataclass(frozen=True)
class AnnSA(
    SelectMethod,
    name="ann",
    title="ANN attention",
    about="An approximate nearest neighbour search finds the keys of long histories that queries want.",
):
    """Approximate search over the history.

    Attributes:
        search: "quant" assigns each key to the nearest of 8-bit centroids, "lsh" hashes keys by the signs of random
            projections.
        bits: the history is put into 2^bits buckets.
        share: quant: share of the buckets that a block of queries visits; 1 reads everything.
        radius: lsh: a query visits buckets whose signs differ from its own in at most this many places; `bits`
            reads everything.
        block: how many queries read the same keys.
        min_frames: latent frames of history below which everything is read.
        dense_passes: denoising passes at the beginning of a chunk that read everything.
        sparse_clean: whether the clean pass, whose keys and values are kept, is searched too.
        min_recall: layers in which the keys found hold less than this share of the attention read everything. The
            share is measured in the clean pass of the first chunk with enough history, and again whenever the
            history has doubled; all layers are dense until it is known. 0 switches no layer off and starts at once.
        seed: of the projections.
    """

    search: Searching = option(
        "quant",
        "quant: keys go to the nearest of some 8-bit centroids, the better one. lsh: keys are hashed by random "
        "projections.",
        choices=("quant", "lsh"),
        flag="ann-search",
    )
    bits: int = option(
        6,
        "The history is put into 2^bits buckets. More tell keys apart more finely.",
        low=1,
        high=_MOST_BITS,
        rare=True,
        flag="ann-bits",
    )
    share: float = option(
        0.25,
        "quant: share of the history that a block of queries reads. 1 reads everything.",
        low=0.0,
        high=1.0,
        above=True,
        least=0.01,
        flag="ann-share",
    )
    radius: int = option(
        1,
        "lsh: buckets are read whose hash differs from a query's in at most so many bits.",
        low=0,
        most=_MOST_BITS,
        rare=True,
        flag="ann-radius",
    )
    block: int = option(
        128,
        "Queries that read the same keys. The toy world, with 108 tokens a chunk, needs about 16.",
        low=1,
        most=1024,
        rare=True,
        input="block_size",
        flag="block-size",
    )
    min_frames: int = option(
        9,
        "Latent frames of history below which everything is read: a search has its cost too.",
        low=1,
        most=4096,
        unit="latent frames",
        input="min_history",
        flag="ann-history",
    )
    dense_passes: int = option(
        1,
        "Denoising passes at the beginning of each chunk that read everything.",
        low=0,
        most=64,
        rare=True,
        flag="",
    )
    sparse_clean: bool = option(
        False,
        "Search in the clean pass too, whose keys and values are kept. Faster, errors stay.",
        rare=True,
        flag="",
    )
    min_recall: float = option(
        0.8,
        "Layers in which the keys found have less than this share of the attention read everything. Measured once "
        "the history is long enough; 0 switches no layer off.",
        low=0.0,
        high=1.0,
        rare=True,
        flag="ann-recall",
    )
    seed: int = 0

    @classmethod
    def from_bench(cls, values: Sequence[str]) -> AnnSA:
        """With no layer switched off: bench's keys are random, so the recall of a search in them means nothing."""
        if len(values) > 2:
            raise ValueError(values)
        method = cls(min_recall=0.0)
        if values:
            lsh = values[0] == "lsh"
            method = replace(
                method, **({"search": "lsh"} if lsh else {"share": parse_value(cls, "share", values[0])})
            )
        return replace(method, bits=parse_value(cls, "bits", values[1])) if len(values) > 1 else method

    @classmethod
    def bench_syntax(cls) -> str:
        return "ann[:SHARE|lsh[:BITS]]"

    def check_video(self, config: MemoryConfig, video: VideoShape) -> None:
        """Raise DummyForcingError if no head ever has a history long enough to be searched."""
        most = config.keep.longest_history(video)
        if most is not None and most < self.min_frames:
            raise DummyForcingError(
                f"ANN attention searches histories of {self.min_frames} latent frames or more, but with chunks of "
                f"{video.chunk_frames} heads hold {most} at most here; give heads a longer window or local "
                "context, lower the least history, or remove ANN attention"
            )

    def begin(self, video: VideoShape) -> AnnSARun:
        from .history import AnnSARun

        return AnnSARun(self, video)

    def describe(self) -> str:
        how = f"reads {self.share:.0%} of the history" if self.search == "quant" else "by hashes"
        return f"ANN attention, {how}"

    @property
    def method(self) -> Search:
        """The search."""
        from .search import QuantisedCells, SignHash

        if self.search == "lsh":
            return SignHash(self.bits, self.radius, self.seed)
        return QuantisedCells(self.bits, self.share)


@dataclass(frozen=True)
class AnnCA(
    CrossMethod,
    name="ann",
    title="ANN cross-attention",
    about="A frame reads the tokens of the prompt that are near one of its queries.",
):
    """Approximate search over the prompt.

    Attributes:
        bits: of the hash.
        radius: a token is kept if its hash differs from that of some query in at most this many bits; `bits` keeps
            all tokens, which is exact.
        seed: of the projections.
    """

    bits: int = 4
    radius: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= _MOST_BITS or self.radius < 0:
            raise DummyForcingError(
                f"ANN cross-attention with {self.bits} bits and a radius of {self.radius}; expected 1 to "
                f"{_MOST_BITS} bits and a radius of 0 or more"
            )

    def begin(self) -> AnnCARun:
        from .prompt import AnnCARun

        return AnnCARun(self)
